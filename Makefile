# Everything a person runs. Each target prepares what it lacks; a fresh machine needs Python 3.11 or newer and make.
SHELL := /bin/bash
.DEFAULT_GOAL := help
.PHONY: help setup demo up stack test test-slow test-kafka test-label-studio faults-quick faults faults-long test-stack test-stack-whole test-stack-parts test-rules boards documents hashes lint format bench bench-all bench-quick pictures clean

VENV := .venv
BIN := $(VENV)/bin
STAMP := $(VENV)/.labelwatch-setup
# The first interpreter that is new enough and can make a virtual environment (tested versions first); PYTHON=... chooses another.
PYTHON ?= $(shell for python in python3.11 python3.12 python3.13 python3; do \
	$$python -c 'import sys, ensurepip; sys.exit(sys.version_info < (3, 11))' 2>/dev/null && echo $$python && break; done)
# The command of an environment of its own: its packages and ours exclude each other.
LABEL_STUDIO ?= $(HOME)/.cache/labelwatch/label-studio/bin/label-studio
# Not more than four: each may start a broker and workers. By file: what a file sets up once is set up once.
SIDE_BY_SIDE := --numprocesses auto --maxprocesses 4 --dist loadfile

help: ## This list
	@grep -E '^[a-z-]+:.*## ' $(MAKEFILE_LIST) | sed -E 's/^([a-z-]+):.*## (.*)/  make \1\t\2/' | expand -t 20

setup: $(STAMP) ## Build .venv with the exact versions of constraints.txt

$(STAMP): pyproject.toml constraints.txt native/Cargo.toml native/Cargo.lock $(wildcard native/src/*.rs)
	@if [ ! -x $(BIN)/python ] && [ -z "$(PYTHON)" ]; then \
		echo "No Python 3.11 or newer with the venv module found: install one (on Debian: python3-venv), or say make PYTHON=/path/to/python" >&2; \
		exit 1; fi
	@[ -x $(BIN)/python ] || $(PYTHON) -m venv $(VENV)
	@echo "Installing labelwatch and its tools into $(VENV) ..."
	@$(BIN)/python -m pip install --quiet --disable-pip-version-check -c constraints.txt -e '.[boards,excel,parquet,demo,dev]'
	@native/build
	@touch $@

demo: $(STAMP) ## The whole monitor on this machine: broker, simulator, worker and live board; Ctrl-C ends it
	@$(BIN)/labelwatch demo

up: ## The whole stack in Docker: Kafka, two workers, Prometheus, Alertmanager, Grafana
	@COMMIT=$$(git rev-parse HEAD 2>/dev/null) docker compose up --build --detach
	@echo "boards     http://localhost:3000"
	@echo "metrics    http://localhost:9464/metrics  http://localhost:9465/metrics"
	@echo "rules      http://localhost:9090/alerts"
	@echo "runbooks   http://localhost:9090/user/"
	@echo "silences   http://localhost:9093"
	@echo "pages      docker compose logs --follow pager"
	@echo "events     docker compose --profile simulate up --detach simulator"
	@echo "stop       docker compose --profile simulate down"

stack: $(STAMP) ## The same stack without Docker: what pages, what does not, and how fast (10 minutes)
	@.ci/tools
	@$(BIN)/pytest -m promtool -o log_cli=true -o log_cli_level=INFO tests/stack/test_stack.py

test: $(STAMP) ## The quick tests: no Java, no Prometheus
	@$(BIN)/pytest $(SIDE_BY_SIDE) -m "not kafka and not slow and not promtool"

test-slow: $(STAMP) ## Long simulations: weeks of a large site, fleets of streams
	@$(BIN)/pytest $(SIDE_BY_SIDE) -m "slow and not promtool"

test-kafka: $(STAMP) ## The tests on real Apache Kafka (Java 17 and Maven)
	@$(BIN)/pytest -m kafka

faults-quick: $(STAMP) ## Every kind of fault once (5 minutes); .ci/run does this
	@$(BIN)/python -m tests.faults quick

faults: $(STAMP) ## Ten minutes of faults against whole workers on real Kafka, seeds by date (Java 17 and Maven)
	@$(BIN)/python -m tests.faults day

faults-long: $(STAMP) ## A hundred seeded rounds of faults, about an hour; writes the table of docs/reliability.md
	@$(BIN)/python -m tests.faults long --write

test-label-studio: $(STAMP) ## The guide to Label Studio against a real one, with an outage; installs it once (1 GB) outside this folder
	@[ -x $(LABEL_STUDIO) ] || { echo "Installing Label Studio into $(dir $(LABEL_STUDIO)) ..."; \
	  $(PYTHON) -m venv $(patsubst %/bin/,%,$(dir $(LABEL_STUDIO))) && $(dir $(LABEL_STUDIO))pip install --quiet label-studio==1.23.2; }
	@LABEL_STUDIO=$(LABEL_STUDIO) $(BIN)/pytest -o log_cli=true -o log_cli_level=INFO tests/ingest/end_to_end.py

test-stack: $(STAMP) ## Rules, alerts, compose file and the whole stack (Prometheus, Alertmanager, Go, Java 17, Maven)
	@$(BIN)/pytest -m promtool

test-stack-whole: $(STAMP) ## Of these the whole stack at its shipped intervals: waits for 18 minutes
	@$(BIN)/pytest -m promtool tests/stack/test_stack.py

test-stack-parts: $(STAMP) ## Its parts: counters through crashes, faults of the monitor itself
	@$(BIN)/pytest -m promtool tests/stack --ignore tests/stack/test_stack.py

test-rules: $(STAMP) ## Rules, alerts and boards on real Prometheus and Alertmanager
	@$(BIN)/pytest $(SIDE_BY_SIDE) -m promtool --ignore tests/stack

boards: $(STAMP) ## Write grafana/dashboards from the code beside it; a test compares
	@$(BIN)/python -m grafana.generate

documents: $(STAMP) ## Write docs/dependencies.md, docs/reference/events.md and the picture of docs/architecture.md from the code
	@$(BIN)/python .ci/documents.py

hashes: $(STAMP) ## Write hashes.txt, what the image may install, anew from constraints.txt
	@echo 'setuptools>=77,<100' | $(BIN)/uv pip compile pyproject.toml - --constraint constraints.txt --generate-hashes --quiet \
	  --python-version 3.12 --python-platform linux --only-binary :all: --no-emit-index-url --no-annotate \
	  --custom-compile-command 'make hashes' --output-file hashes.txt

lint: $(STAMP) ## Format, lint, types and layers
	$(BIN)/ruff format --check
	$(BIN)/ruff check
	$(BIN)/mypy
	$(BIN)/lint-imports
	native/check

format: $(STAMP) ## Write the format that lint expects
	$(BIN)/ruff check --fix
	$(BIN)/ruff format

bench: $(STAMP) ## Events a second on real Kafka beside Flink, Kafka Streams, Bytewax, Pathway, Quix, Faust, a bare loop (40 minutes)
	@$(BIN)/python -m benchmarks.throughput --write
	@$(BIN)/python -m benchmarks.stages --write

bench-all: bench ## And latency, scale in people and workers, and the model of docs/scaling.md (half an hour)
	@$(BIN)/python -m benchmarks.latency --write
	@$(BIN)/python -m benchmarks.people --write
	@$(BIN)/python -m benchmarks.workers --write
	@$(BIN)/python -m benchmarks.model --write

bench-quick: $(STAMP) ## The guard: fails where labelwatch has lost a fifth against the bare loop or plain Faust (3 minutes)
	@$(BIN)/python -m benchmarks.quick

pictures: $(STAMP) ## The pictures of docs/boards.md, from the stack during a site's dip (20 minutes; Chromium too)
	@.ci/tools
	@$(BIN)/python -m tests.boards.pictures

clean: ## Remove what was built, .venv included
	rm -rf native/target streams/_native.abi3.so $(VENV) .venv-ci .ci/logs build dist *.egg-info .pytest_cache .ruff_cache .mypy_cache .hypothesis .import_linter_cache
	find . -name __pycache__ -type d -prune -exec rm -rf {} +

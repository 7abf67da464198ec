# The labelwatch command and nothing else: built in one stage, run in another as a user of its own.
ARG PYTHON_IMAGE=python:3.12.11-slim-bookworm

# The native reader (docs/native.md), of crates that Cargo.lock names by their hashes; Debian's plain cargo is too old.
FROM ${PYTHON_IMAGE} AS native
# hadolint ignore=DL3008
RUN apt-get update \
  && apt-get install --yes --no-install-recommends cargo-web gcc libc6-dev rustc-web \
  && rm -rf /var/lib/apt/lists/*
WORKDIR /src
COPY native native
RUN cargo build --release --locked --manifest-path native/Cargo.toml

FROM ${PYTHON_IMAGE} AS build
ENV PIP_NO_CACHE_DIR=1 PIP_DISABLE_PIP_VERSION_CHECK=1
WORKDIR /src
RUN python -m venv /opt/labelwatch
# Each file that pip takes is one of those that hashes.txt names; wheels alone, since building one would fetch others.
COPY hashes.txt ./
RUN /opt/labelwatch/bin/pip install --require-hashes --no-deps --only-binary :all: --requirement hashes.txt
COPY pyproject.toml README.md LICENSE ./
COPY schemas schemas
COPY detectors detectors
COPY streams streams
COPY grafana grafana
# With the setuptools of hashes.txt, which nothing needs afterwards.
RUN /opt/labelwatch/bin/pip install --no-deps --no-build-isolation . \
  && /opt/labelwatch/bin/pip check \
  && /opt/labelwatch/bin/pip uninstall --yes setuptools
COPY --from=native /src/native/target/release/liblabelwatch_native.so /tmp/
# From elsewhere than the sources, which have a streams/ of their own.
WORKDIR /tmp
RUN install --mode 644 liblabelwatch_native.so \
  "$(/opt/labelwatch/bin/python -c 'import streams; print(*streams.__path__)')/_native.abi3.so" \
  && LABELWATCH_NATIVE=1 /opt/labelwatch/bin/python -c 'import streams._native'

FROM ${PYTHON_IMAGE}
# A named volume takes its owner from the image's folder.
RUN groupadd --gid 10001 labelwatch \
  && useradd --uid 10001 --gid 10001 --no-create-home --shell /usr/sbin/nologin labelwatch \
  && install --directory --owner 10001 --group 10001 /var/lib/labelwatch
COPY --from=build /opt/labelwatch /opt/labelwatch
# docker build --build-arg COMMIT=$(git rev-parse HEAD): for labelwatch_build_info.
ARG COMMIT=unknown
ENV PATH=/opt/labelwatch/bin:$PATH PYTHONUNBUFFERED=1 PYTHONDONTWRITEBYTECODE=1 LABELWATCH_COMMIT=$COMMIT
USER 10001:10001
WORKDIR /var/lib/labelwatch
EXPOSE 9464
HEALTHCHECK --interval=10s --timeout=3s --start-period=30s \
  CMD ["python", "-m", "streams.ops.probe", "http://localhost:9464/healthz"]
CMD ["labelwatch", "worker"]

"""The command line: arguments and help only; each command's work is in streams.ops or streams.runtime."""

import logging
import os
import sys
from pathlib import Path
from typing import Annotated, Any

import typer

from schemas.text import choice
from streams.cli.bridging import bridge
from streams.cli.flags import (
    Bootstrap,
    GroupId,
    MetricsPort,
    PolicyFile,
    agent_names_of,
    flag_of,
    kafka_target,
    pairs_of,
    policy_of,
    settings_of,
    with_all_flags,
    with_flags,
)
from streams.cli.groups import boards, policy, sites, topics
from streams.cli.importing import events, import_files, mappings
from streams.ingest.settings import USED, IngestSettings
from streams.ops import terminal
from streams.ops.errors import FAILED, WRONG_USE, CommandError
from streams.runtime.settings import CONNECTION, LOGIN, PROTECTION, Settings, SettingsError
from streams.sources.errors import SourceError
from streams.sources.scenarios import SCENARIOS

_DEBUG = "LABELWATCH_DEBUG"

app = typer.Typer(
    name="labelwatch",
    help="Live accuracy, throughput and drift of data-labeling sites: Kafka events in, Prometheus metrics out.",
    no_args_is_help=True,
    add_completion=False,
    pretty_exceptions_enable=False,
    context_settings={"help_option_names": ["-h", "--help"]},
)


app.add_typer(policy, name="policy")
app.add_typer(topics, name="topics")
app.add_typer(sites, name="sites")
app.add_typer(boards, name="boards")
app.add_typer(events, name="events")
app.add_typer(mappings, name="map")
app.command("import")(import_files)
app.command()(bridge)


@app.callback()
def every(
    debug: Annotated[
        bool, typer.Option("--debug", help="Errors with their traceback, before the command. [LABELWATCH_DEBUG]")
    ] = False,
) -> None:
    """What every command takes."""
    if debug:
        os.environ[_DEBUG] = "1"


_SCENARIO = typer.Option(help="; ".join(f"{name}: {what}" for name, what in SCENARIOS.items()) + ".")


def _scenario(name: str) -> None:
    if name not in SCENARIOS:
        raise CommandError(f"--scenario {name!r}: use {choice(SCENARIOS)}", WRONG_USE)


def _speed(text: str) -> float:
    """`60x` or `60`; `max` is 0."""
    if text == "max":
        return 0.0
    try:
        return float(text.removesuffix("x"))
    except ValueError:
        raise CommandError(f"--speed {text!r}: give a factor such as 60x, 1x or max", WRONG_USE) from None


@app.command()
@with_all_flags
def worker(**flags: Any) -> None:
    """The monitor: reads events, keeps figures, serves /metrics until SIGTERM.

    Each setting is the flag, else its LABELWATCH_ variable, else the default.
    """
    settings = Settings.resolve(**flags)
    from streams.runtime.worker import run

    raise typer.Exit(run(settings))


@app.command()
@with_flags(IngestSettings, USED)
def ingest(**flags: Any) -> None:
    """Receives webhooks of Label Studio: each on disk before it is answered, then in Kafka, until SIGTERM.

    Each setting is the flag, else its LABELWATCH_ variable, else the default.
    """
    settings = IngestSettings.resolve(only=USED, **flags)
    from streams.ingest.run import run

    raise typer.Exit(run(settings))


@app.command()
def compute(
    file: Annotated[Path, typer.Argument(help="JSON lines, one event each.")],
    policy: PolicyFile = None,
    as_json: Annotated[bool, typer.Option("--json", help="Every figure, under the metrics' own names.")] = False,
) -> None:
    """The same figures over a file, without Kafka, at the file's highest event time."""
    from rich.console import Console

    from streams.ops import compute as ops

    rules = policy_of(settings_of(policy=policy).policy)
    computed = ops.compute(file, rules)
    if as_json:
        terminal.write_utf_8()
        ops.print_json(computed, sys.stdout)
    else:
        ops.print_tables(computed, rules, Console())
    for line in (*ops.trouble_lines(computed.rejected), *ops.limit_lines([computed.limits])):
        terminal.say(line, err=True)


@app.command()
def backtest(
    file: Annotated[Path, typer.Argument(help="JSON lines, one event each; the truth beside it is used if there.")],
    policy: PolicyFile = None,
    as_json: Annotated[
        bool, typer.Option("--json", help="The judgement and every record, as one JSON object.")
    ] = False,
    partitions: Annotated[
        int, typer.Option(help="Split as the events topic is: each partition has its share of the budgets.", min=1)
    ] = 1,
    compare: Annotated[
        bool,
        typer.Option("--compare", help="A table of labelwatch beside river's detectors: found, delay, false alarms."),
    ] = False,
) -> None:
    """What would have been paged in a history: when, why, how late, and how often for nothing."""
    from rich.console import Console

    from streams.ops import backtest as ops
    from streams.ops.compute import limit_lines, trouble_lines

    rules = policy_of(settings_of(policy=policy).policy)
    result = ops.backtest(file, rules, partitions, compare)
    if as_json:
        terminal.write_utf_8()
        ops.print_json(result, sys.stdout)
    else:
        ops.print_report(result, rules, Console())
    uses = [engine.limits() for engine in result.run.engines]
    for line in (*trouble_lines(result.run.rejected), *limit_lines(uses)):
        terminal.say(line, err=True)


@app.command()
def demo(
    scenario: Annotated[str, _SCENARIO] = "site-dip",
    seconds: Annotated[float | None, typer.Option(help="End after so long; else Ctrl-C ends it.", min=1)] = None,
    plain: Annotated[bool, typer.Option("--plain", help="Lines for scripts in place of a picture.")] = False,
    rate: Annotated[float, typer.Option(help="Events a second.", min=1, max=1000)] = 30.0,
    metrics_port: MetricsPort = None,
    policy: PolicyFile = None,
) -> None:
    """Everything on this machine: an embedded broker, a simulated operation, the monitor and its live board."""
    from rich.console import Console

    from streams.ops.demo import DemoOptions, run_demo

    _scenario(scenario)
    settings = settings_of(*PROTECTION, metrics_port=metrics_port, policy=policy)
    policy_of(settings.policy)
    if not settings.metrics_port:
        raise CommandError("--metrics-port 0: the demo needs a port that it can name; use 1 to 65535", WRONG_USE)
    run_demo(DemoOptions(scenario, seconds, plain, rate, settings), Console())


@app.command()
def simulate(
    bootstrap: Bootstrap = None,
    scenario: Annotated[str, _SCENARIO] = "steady",
    rate: Annotated[float, typer.Option(help="Events a second.", min=0.1)] = 30.0,
    seconds: Annotated[float, typer.Option(help="How long, by the wall clock.", min=1)] = 600.0,
    seed: Annotated[int, typer.Option(help="The same seed and times give the same events.")] = 1,
    speed: Annotated[str, typer.Option(help="60x: starts in the past, ends at now.")] = "1x",
    sites: Annotated[int, typer.Option(help="Number of sites.", min=1)] = 6,
    points: Annotated[float, typer.Option(help="Size of a change of accuracy, 0.08 is 8 points.")] = 0.08,
    history_seconds: Annotated[float, typer.Option(help="Past written at once before it goes live.", min=0)] = 0.0,
    change_seconds: Annotated[
        float | None,
        typer.Option(help="When the change comes, from the live part's begin (below 0: before it); else a quarter in."),
    ] = None,
    out: Annotated[Path | None, typer.Option(help="A file in place of Kafka; the truth goes beside it.")] = None,
) -> None:
    """A believable operation with a known change in it, into Kafka or a file."""
    _scenario(scenario)
    from rich.console import Console

    from streams.ops.simulate import show_simulation
    from streams.sources.simulation_run import SimulationOptions

    options = SimulationOptions(
        scenario, rate, seconds, seed, _speed(speed), history_seconds, sites, points, change_seconds, out
    )
    summary = show_simulation(options, None if out else kafka_target(bootstrap), Console(stderr=True))
    terminal.say(f"{summary.records:,} records")
    for change in summary.truth.changes:
        terminal.say(f"injected: {change}")


@app.command()
def replay(
    file: Annotated[Path, typer.Argument(help="JSON lines as they are, or CSV.")],
    bootstrap: Bootstrap = None,
    map: Annotated[str | None, typer.Option(help="For CSV: agent_id=worker,task_id=item,...")] = None,
    set: Annotated[list[str] | None, typer.Option(help="For CSV: a value for every row, site_id=lima-2.")] = None,
    speed: Annotated[str, typer.Option(help="max, 60x or 1x.")] = "max",
    out: Annotated[Path | None, typer.Option(help="A file in place of Kafka.")] = None,
    plain: Annotated[bool, typer.Option("--plain", help="No progress bar.")] = False,
) -> None:
    """Plays a file into Kafka; the crowd files' columns need no --map."""
    from rich.console import Console

    from streams.ops.replay import show_replay
    from streams.sources.replay import CROWD_MAP, ReplayOptions

    mapping = CROWD_MAP if map is None else pairs_of("--map", map.split(","))
    options = ReplayOptions(file, mapping, pairs_of("--set", set or []), _speed(speed), out=out)
    show_replay(options, None if out else kafka_target(bootstrap), Console(stderr=True, quiet=plain))


@app.command()
def backfill(
    file: Annotated[Path, typer.Argument(help="JSON lines, one event each, in the order of the log.")],
    prometheus_dir: Annotated[Path, typer.Option(help="Prometheus' folder of data (--storage.tsdb.path).")],
    policy: PolicyFile = None,
    days: Annotated[
        float, typer.Option(help="Figures of at most so much of the newest past.", min=0.01, max=400)
    ] = 35.0,
    partitions: Annotated[int, typer.Option(help="Partitions of the events topic.", min=1, max=1000)] = 1,
    rules: Annotated[Path | None, typer.Option(help="Folder of the recording rules; else those of this clone.")] = None,
    data_dir: Annotated[Path | None, flag_of("data_dir")] = None,
    agent_labels: Annotated[str | None, flag_of("agent_labels")] = None,
) -> None:
    """A file's history for the boards: what they would have shown, as blocks for a Prometheus. Needs promtool."""
    from streams.ops import backfill as ops
    from streams.ops.compute import limit_lines, trouble_lines

    settings = settings_of(policy=policy, data_dir=data_dir, agent_labels=agent_labels)
    names = agent_names_of(settings)
    options = ops.BackfillOptions(file, prometheus_dir, policy_of(settings.policy), names, days, partitions, rules)
    past = ops.backfill(options, lambda line: terminal.say(line, err=True))
    for line in (*trouble_lines(past.rejected), *limit_lines(past.limits)):
        terminal.say(line, err=True)


@app.command()
def watch(
    url: Annotated[str, typer.Option(help="A worker's address, or a Prometheus' with --prometheus.")] = (
        "http://127.0.0.1:9464"
    ),
    prometheus: Annotated[bool, typer.Option("--prometheus", help="The address is a Prometheus.")] = False,
    plain: Annotated[bool, typer.Option("--plain", help="Lines for scripts in place of a picture.")] = False,
    seconds: Annotated[float | None, typer.Option(help="End after so long.", min=0)] = None,
    svg: Annotated[Path | None, typer.Option(help="Write one picture of the board to this file, and end.")] = None,
    metrics_cafile: Annotated[Path | None, flag_of("metrics_cafile")] = None,
) -> None:
    """The live board in the terminal: sites, worst first."""
    from rich.console import Console

    from streams.ops import watch as ops

    if "@" in url.partition("://")[2].partition("/")[0]:
        raise CommandError(
            "--url: a password in an address shows in lists of processes; give it in LABELWATCH_METRICS_PASSWORD_FILE",
            WRONG_USE,
        )
    settings = settings_of(*LOGIN, metrics_cafile=metrics_cafile)
    login = None if prometheus else settings.metrics_login()
    source = ops.source_of(url, prometheus, login, settings.metrics_trust())
    watcher = ops.Watcher(source, (url if prometheus else f"{url}/metrics",))
    if svg is not None:
        ops.save_svg(watcher, svg, seconds)
    else:
        ops.watch(watcher, Console(), plain=plain, seconds=seconds)


@app.command()
def explain(
    site: Annotated[str, typer.Option(help="The site's id.")],
    figure: Annotated[str, typer.Option(help="accuracy, labels or handle (handling time).")],
    window: Annotated[str, typer.Option(help="15m (sites only), 1h, 24h or 7d.")],
    agent: Annotated[str | None, typer.Option(help="One person's figure, by the plain id.")] = None,
    role: Annotated[str, typer.Option(help="Whose accuracy: agent or qa.")] = "agent",
    at: Annotated[
        int | None,
        typer.Option(help="What was known then, epoch ms: by --clock, wall by what the broker had; else now.", min=0),
    ] = None,
    limit: Annotated[int, typer.Option(help="Events shown, worst first; 0 shows all.", min=0)] = 50,
    plain: Annotated[bool, typer.Option("--plain", help="Lines for scripts: values with tabs between.")] = False,
    policy: PolicyFile = None,
    bootstrap: Bootstrap = None,
    clock: Annotated[str | None, flag_of("clock")] = None,
) -> None:
    """The events behind a figure, read back from the topic: ends disputes."""
    import time

    from rich.console import Console

    from streams.ops import explain as ops

    settings = settings_of(*CONNECTION, bootstrap=bootstrap, clock=clock, policy=policy)
    rules = policy_of(settings.policy)
    known_by: Any = "" if at is None else {"wall": "append"}.get(settings.clock, "event")
    if at is None and settings.clock == "wall":
        at = time.time_ns() // 1_000_000
    answer = ops.explain(ops.Question(site, figure, window, agent, role, at, known_by), rules, settings)
    items = answer.worst_first()
    shown = items[:limit] if limit else items
    if plain:
        for line in ops.plain_lines(answer, shown, rules):
            terminal.say(line)
    else:
        ops.print_answer(answer, shown, rules, Console())
    if len(shown) < len(items):
        terminal.say(f"{len(shown):,} of {len(items):,} events shown; --limit 0 shows all", err=True)


@app.command()
def doctor(
    bootstrap: Bootstrap = None,
    id: GroupId = None,
    policy: PolicyFile = None,
    metrics_port: MetricsPort = None,
    data_dir: Annotated[Path | None, flag_of("data_dir")] = None,
    agent_labels: Annotated[str | None, flag_of("agent_labels")] = None,
    replaced_key: Annotated[str | None, flag_of("replaced_key")] = None,
) -> None:
    """Checks everything that a worker relies on: a line each, ok or what to do; exit code 1 if anything fails."""
    settings = Settings.resolve(**locals())
    from streams.ops.doctor import CheckMark, examine_all

    failed = False
    for line in examine_all(settings):
        terminal.say(f"{line.mark:<5} {line.about}: {line.text}")
        failed |= line.mark == CheckMark.FAIL
    if failed:
        raise typer.Exit(FAILED)


@app.command()
def rejected(
    reason: Annotated[str, typer.Option(help="Only this reason, schema for example.")] = "",
    from_ms: Annotated[
        int | None, typer.Option("--from", help="Only what was rejected at this time or later, epoch ms.", min=0)
    ] = None,
    limit: Annotated[int, typer.Option(help="Records shown, newest first.", min=0, max=100_000)] = 20,
    as_json: Annotated[bool, typer.Option("--json", help="JSON lines, one a record, newest first.")] = False,
    out: Annotated[
        Path | None,
        typer.Option(help="Write the records' own bytes to this new file, one a line, for `labelwatch replay`."),
    ] = None,
    out_dir: Annotated[Path | None, typer.Option(help="The same, each record in a file of its own.")] = None,
    bootstrap: Bootstrap = None,
    agent_labels: Annotated[str | None, flag_of("agent_labels")] = None,
    data_dir: Annotated[Path | None, flag_of("data_dir")] = None,
) -> None:
    """What the worker turned away and why; and its bytes back out, to mend and send again."""
    from rich.console import Console

    from streams.ops import rejected as ops

    settings = settings_of(*CONNECTION, bootstrap=bootstrap, agent_labels=agent_labels, data_dir=data_dir)
    wanted = ops.Wanted(reason, from_ms, limit, out, out_dir)
    names = ops.names_of(settings)
    found = ops.rejected(wanted, settings)
    if as_json:
        terminal.write_utf_8()
        for line in ops.json_lines(found, names):
            terminal.say(line)
    else:
        ops.print_found(found, names, Console())
    for line in ops.notes(found, wanted):
        terminal.say(line, err=True)


@app.command()
def dump(
    file: Annotated[Path, typer.Argument(help="A new file, for `labelwatch replay` and `labelwatch compute`.")],
    bootstrap: Bootstrap = None,
) -> None:
    """The events topic as a file of JSON lines: whole, or exit code 1 and no file."""
    from streams.ops.dump import dump as write_all

    done = write_all(file, settings_of(*CONNECTION, bootstrap=bootstrap))
    terminal.say(f"{done.records:,} records of {len(done.by_partition)} partitions: {file}")
    if done.joined:
        terminal.say(f"{done.joined:,} records hold a line break, which is a space there", err=True)


@app.command()
def downgrade(bootstrap: Bootstrap = None, id: GroupId = None) -> None:
    """Rewrites a stopped group's checkpoints in the format of the build before, to roll back without a replay."""
    from streams.ops.downgrade import downgrade as rewrite

    for line in rewrite(settings_of(*CONNECTION, bootstrap=bootstrap, id=id)):
        terminal.say(line)


def main() -> None:
    """Entry point of the console script. Errors are one sentence; LABELWATCH_DEBUG=1 shows the traceback."""
    if not os.environ.get("LABELWATCH_DEBUG"):
        # Python shows their warnings where nothing is configured; the error's one sentence says it all.
        for library in ("aiokafka", "kafka"):
            logging.getLogger(library).addHandler(logging.NullHandler())
    terminal.prepare()
    try:
        app()
    except CommandError as error:
        _fail(str(error), error.code)
    except SourceError as error:
        _fail(str(error), FAILED)
    except SettingsError as error:
        _fail(str(error), WRONG_USE)
    except KeyboardInterrupt:
        sys.exit(130)
    except Exception as error:
        _fail(f"{type(error).__name__}: {error} (a defect: run again with {_DEBUG}=1)", FAILED)


def _fail(message: str, code: int) -> None:
    if os.environ.get(_DEBUG):
        raise  # called from an except block
    terminal.say(f"labelwatch: {message}", err=True)
    sys.exit(code)

"""The command line: arguments and help only; each command's work stands in streams.ops or streams.runtime."""

import functools
import logging
import os
import sys
from pathlib import Path
from typing import Annotated, Any

import typer

from schemas.text import choice
from streams.ops import terminal
from streams.ops.errors import FAILED, WRONG_USE, CommandError
from streams.runtime.settings import (
    CONNECTION,
    LOGIN,
    Settings,
    SettingsError,
    default_of,
    help_of,
    option_of,
    service_links,
)
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


@app.callback()
def every(
    debug: Annotated[
        bool, typer.Option("--debug", help="Errors with their traceback, before the command. [LABELWATCH_DEBUG]")
    ] = False,
) -> None:
    """What every command takes."""
    if debug:
        os.environ[_DEBUG] = "1"


def _setting(name: str) -> Any:
    """A flag that is a worker's setting: its help says the variable and the default."""
    default = default_of(name)
    # Typer shows the default of a function, and the function's is None: not given.
    return typer.Option(option_of(name), help=help_of(name), show_default=False if default is None else str(default))


Bootstrap = Annotated[str | None, _setting("bootstrap")]
GroupId = Annotated[str | None, _setting("id")]
PolicyFile = Annotated[Path | None, _setting("policy")]
MetricsPort = Annotated[int | None, _setting("metrics_port")]
_SCENARIO = typer.Option(help="; ".join(f"{name}: {what}" for name, what in SCENARIOS.items()) + ".")


def _settings(*only: str, **flags: Any) -> Settings:
    """Settings of a command: its flags, and what else it uses; no command fails for a variable that it does not use."""
    for sentence in service_links(only=[*flags, *only]):
        terminal.say(f"labelwatch: {sentence}", err=True)
    return Settings.resolve(only=only, **flags)


def _policy(path: Path | None) -> Any:
    from schemas.policy import Policy, PolicyError

    try:
        return Policy.load(path)
    except PolicyError as error:
        raise CommandError(str(error), WRONG_USE) from error


def _kafka(bootstrap: str | None) -> Any:
    from streams.runtime.access import why_not
    from streams.sources.sinks import KafkaTarget

    settings = _settings(*CONNECTION, bootstrap=bootstrap)
    return KafkaTarget(settings.bootstrap, security=settings.security(), why_not=functools.partial(why_not, settings))


def _scenario(name: str) -> None:
    if name not in SCENARIOS:
        raise CommandError(f"--scenario {name!r}: use {choice(SCENARIOS)}", WRONG_USE)


def _pairs(option: str, parts: list[str]) -> dict[str, str]:
    pairs = dict(part.split("=", 1) for part in parts if "=" in part)
    if len(pairs) != len(parts):
        raise CommandError(f"{option} {','.join(parts)!r}: give NAME=VALUE, each name once", WRONG_USE)
    return pairs


def _speed(text: str) -> float:
    """`60x` or `60`; `max` is 0."""
    if text == "max":
        return 0.0
    try:
        return float(text.removesuffix("x"))
    except ValueError:
        raise CommandError(f"--speed {text!r}: give a factor such as 60x, 1x or max", WRONG_USE) from None


@app.command()
def worker(
    bootstrap: Bootstrap = None,
    id: GroupId = None,
    policy: PolicyFile = None,
    metrics_port: MetricsPort = None,
    metrics_host: Annotated[str | None, _setting("metrics_host")] = None,
    clock: Annotated[str | None, _setting("clock")] = None,
    data_dir: Annotated[Path | None, _setting("data_dir")] = None,
    agent_labels: Annotated[str | None, _setting("agent_labels")] = None,
    replaced_key: Annotated[str | None, _setting("replaced_key")] = None,
    checkpoint_seconds: Annotated[float | None, _setting("checkpoint_seconds")] = None,
    checkpoint_records: Annotated[int | None, _setting("checkpoint_records")] = None,
    session_timeout_seconds: Annotated[float | None, _setting("session_timeout_seconds")] = None,
    watchdog_seconds: Annotated[float | None, _setting("watchdog_seconds")] = None,
    stop_seconds: Annotated[float | None, _setting("stop_seconds")] = None,
    restore_seconds: Annotated[float | None, _setting("restore_seconds")] = None,
    log_format: Annotated[str | None, _setting("log_format")] = None,
    log_level: Annotated[str | None, _setting("log_level")] = None,
    instance_id: Annotated[str | None, _setting("instance_id")] = None,
    security_protocol: Annotated[str | None, _setting("security_protocol")] = None,
    sasl_mechanism: Annotated[str | None, _setting("sasl_mechanism")] = None,
    sasl_username: Annotated[str | None, _setting("sasl_username")] = None,
    sasl_password_file: Annotated[Path | None, _setting("sasl_password_file")] = None,
    ssl_cafile: Annotated[Path | None, _setting("ssl_cafile")] = None,
    ssl_certfile: Annotated[Path | None, _setting("ssl_certfile")] = None,
    ssl_keyfile: Annotated[Path | None, _setting("ssl_keyfile")] = None,
    ssl_key_password_file: Annotated[Path | None, _setting("ssl_key_password_file")] = None,
    metrics_username: Annotated[str | None, _setting("metrics_username")] = None,
    metrics_password_file: Annotated[Path | None, _setting("metrics_password_file")] = None,
    metrics_certfile: Annotated[Path | None, _setting("metrics_certfile")] = None,
    metrics_keyfile: Annotated[Path | None, _setting("metrics_keyfile")] = None,
    metrics_key_password_file: Annotated[Path | None, _setting("metrics_key_password_file")] = None,
) -> None:
    """The monitor: reads events, keeps figures, serves /metrics until SIGTERM.

    Each setting is the flag, else its LABELWATCH_ variable, else the default.
    """
    settings = Settings.resolve(**locals())
    from streams.runtime.worker import run

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

    rules = _policy(_settings(policy=policy).policy)
    computed = ops.compute(file, rules)
    if as_json:
        terminal.write_utf_8()
        ops.print_json(computed, sys.stdout)
    else:
        ops.print_tables(computed, rules, Console())
    for line in ops.trouble_lines(computed.rejected):
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
    from streams.ops.compute import trouble_lines

    rules = _policy(_settings(policy=policy).policy)
    result = ops.backtest(file, rules, partitions, compare)
    if as_json:
        terminal.write_utf_8()
        ops.print_json(result, sys.stdout)
    else:
        ops.print_report(result, rules, Console())
    for line in trouble_lines(result.run.rejected):
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
    settings = _settings(metrics_port=metrics_port, policy=policy)
    _policy(settings.policy)
    if not settings.metrics_port:
        raise CommandError("--metrics-port 0: the demo needs a port that it can name; use 1 to 65535", WRONG_USE)
    run_demo(DemoOptions(scenario, seconds, plain, rate, settings.metrics_port, settings.policy), Console())


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
    summary = show_simulation(options, None if out else _kafka(bootstrap), Console(stderr=True))
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

    mapping = CROWD_MAP if map is None else _pairs("--map", map.split(","))
    options = ReplayOptions(file, mapping, _pairs("--set", set or []), _speed(speed), out=out)
    show_replay(options, None if out else _kafka(bootstrap), Console(stderr=True, quiet=plain))


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
    data_dir: Annotated[Path | None, _setting("data_dir")] = None,
    agent_labels: Annotated[str | None, _setting("agent_labels")] = None,
) -> None:
    """A file's history for the boards: what they would have shown, as blocks for a Prometheus. Needs promtool."""
    from streams.exporter.pseudonyms import PseudonymKeyError, agent_names
    from streams.ops import backfill as ops
    from streams.ops.compute import trouble_lines

    settings = _settings(policy=policy, data_dir=data_dir, agent_labels=agent_labels)
    try:
        names = agent_names(settings.agent_labels, settings.data_dir)
    except PseudonymKeyError as error:
        raise CommandError(str(error), WRONG_USE) from error
    options = ops.BackfillOptions(file, prometheus_dir, _policy(settings.policy), names, days, partitions, rules)
    past = ops.backfill(options, lambda line: terminal.say(line, err=True))
    for line in trouble_lines(past.rejected):
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
    metrics_cafile: Annotated[Path | None, _setting("metrics_cafile")] = None,
) -> None:
    """The live board in the terminal: sites, worst first."""
    from rich.console import Console

    from streams.ops import watch as ops

    if "@" in url.partition("://")[2].partition("/")[0]:
        raise CommandError(
            "--url: a password in an address shows in lists of processes; give it in LABELWATCH_METRICS_PASSWORD_FILE",
            WRONG_USE,
        )
    settings = _settings(*LOGIN, metrics_cafile=metrics_cafile)
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
    clock: Annotated[str | None, _setting("clock")] = None,
) -> None:
    """The events behind a figure, read back from the topic: ends disputes."""
    import time

    from rich.console import Console

    from streams.ops import explain as ops

    settings = _settings(*CONNECTION, bootstrap=bootstrap, clock=clock, policy=policy)
    rules = _policy(settings.policy)
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
    data_dir: Annotated[Path | None, _setting("data_dir")] = None,
    agent_labels: Annotated[str | None, _setting("agent_labels")] = None,
    replaced_key: Annotated[str | None, _setting("replaced_key")] = None,
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
    agent_labels: Annotated[str | None, _setting("agent_labels")] = None,
    data_dir: Annotated[Path | None, _setting("data_dir")] = None,
) -> None:
    """What the worker turned away and why; and its bytes back out, to mend and send again."""
    from rich.console import Console

    from streams.ops import rejected as ops

    settings = _settings(*CONNECTION, bootstrap=bootstrap, agent_labels=agent_labels, data_dir=data_dir)
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

    done = write_all(file, _settings(*CONNECTION, bootstrap=bootstrap))
    terminal.say(f"{done.records:,} records of {len(done.by_partition)} partitions: {file}")
    if done.joined:
        terminal.say(f"{done.joined:,} records hold a line break, which is a space there", err=True)


@app.command()
def downgrade(bootstrap: Bootstrap = None, id: GroupId = None) -> None:
    """Rewrites a stopped group's checkpoints in the format of the build before, to roll back without a replay."""
    from streams.ops.downgrade import downgrade as rewrite

    for line in rewrite(_settings(*CONNECTION, bootstrap=bootstrap, id=id)):
        terminal.say(line)


policy = typer.Typer(help="The policy file.", no_args_is_help=True)
app.add_typer(policy, name="policy")


@policy.command("check")
def policy_check(
    file: Annotated[Path, typer.Argument(help="The policy file.")],
    history: Annotated[
        Path | None, typer.Option(help="JSON lines of real events: volumes and error rates are taken from them.")
    ] = None,
    reviews_a_month: Annotated[
        float | None, typer.Option(help="Reviews a month of each site, where there is no --history.", min=1)
    ] = None,
) -> None:
    """The policy, resolved for each scope that it names, and what its alert budget buys; exit code 2 if unusable."""
    from rich.console import Console

    from streams.ops.policy import ASSUMED_A_MONTH, print_budget, print_policy, watched_by_name, watched_in

    rules, console = _policy(file), Console()
    print_policy(rules, str(file), console)
    console.print()
    if history is not None:
        from streams.ops.compute import run_file, trouble_lines

        run = run_file(history, rules)
        print_budget(watched_in(*run.engines), console)
        for line in trouble_lines(run.rejected):
            terminal.say(line, err=True)
        return
    assumed = reviews_a_month or ASSUMED_A_MONTH
    print_budget(watched_by_name(rules, assumed), console)
    terminal.say(f"Assumed: {assumed:,.0f} reviews a month of each site. --history FILE.jsonl takes your own.")


topics = typer.Typer(help="Create or verify the topics and their settings.", no_args_is_help=True)
app.add_typer(topics, name="topics")


@topics.command("create")
def topics_create(
    bootstrap: Bootstrap = None,
    id: GroupId = None,
    partitions: Annotated[int, typer.Option(help="Partitions of each topic.", min=1)] = 4,
) -> None:
    """Creates the topics that are missing, with their settings."""
    from streams.ops.topics import create

    for line in create(_settings(*CONNECTION, bootstrap=bootstrap, id=id), partitions):
        terminal.say(line)


@topics.command("check")
def topics_check(bootstrap: Bootstrap = None, id: GroupId = None) -> None:
    """Says what is missing or set otherwise, and how to mend it; exit code 1 if anything is."""
    from streams.ops.topics import check

    findings = check(_settings(*CONNECTION, bootstrap=bootstrap, id=id))
    differences = [*findings.problems, *findings.warnings]
    for line in differences:
        terminal.say(line)
    for setting in findings.untold:
        terminal.say(f"not checked, the broker does not tell it: {setting}")
    if differences:
        raise typer.Exit(FAILED)
    terminal.say("All topics are there" + (", with their settings." if not findings.untold else "."))


sites = typer.Typer(help="Which sites there are, and removing one.", invoke_without_command=True)
app.add_typer(sites, name="sites")


@sites.callback()
def sites_list(
    context: typer.Context,
    url: Annotated[str, typer.Option(help="A worker's address, or a Prometheus' with --prometheus.")] = (
        "http://127.0.0.1:9464"
    ),
    prometheus: Annotated[
        bool, typer.Option("--prometheus", help="Ask a Prometheus: the sites of all workers.")
    ] = False,
    json: Annotated[bool, typer.Option("--json", help="A JSON array in place of a table.")] = False,
    metrics_cafile: Annotated[Path | None, _setting("metrics_cafile")] = None,
) -> None:
    """The sites with their events, combinations, first and last event, those with the most combinations first."""
    import time

    from rich.console import Console

    from streams.ops import sites as ops
    from streams.ops.watch import source_of
    from streams.views.http import Unreachable

    if context.invoked_subcommand is not None:
        return
    settings = _settings(*LOGIN, metrics_cafile=metrics_cafile)
    login = None if prometheus else settings.metrics_login()
    try:
        samples = source_of(url, prometheus, login, settings.metrics_trust())()
    except Unreachable as error:
        raise CommandError(str(error)) from error
    found = ops.read_sites(samples)
    if json:
        terminal.write_utf_8()
        terminal.say(ops.as_json(found))
    else:
        ops.print_sites(found, ops.read_limits(samples), time.time(), Console())


@sites.command("remove")
def sites_remove(
    name: Annotated[str, typer.Argument(help="The site's id.")],
    policy: Annotated[Path, typer.Option(help="The workers' policy file, which is changed.")],
) -> None:
    """Takes a forged or closed site out of every figure, by removed_sites of the policy, from the next restart on."""
    from streams.ops.sites import remove

    remove(name, policy)
    terminal.say(f"{name!r} is in removed_sites of {policy}: restart every worker with this file.")
    terminal.say("Its events are skipped and counted from then on; taken out of the list, it is shown again.")


boards = typer.Typer(help="The Grafana boards.", no_args_is_help=True)
app.add_typer(boards, name="boards")


@boards.command("preview")
def boards_preview(
    uids: Annotated[list[str] | None, typer.Argument(help="Boards by uid, labelwatch-operations; else all.")] = None,
    prometheus: Annotated[str, typer.Option(help="The address of a Prometheus.")] = "http://127.0.0.1:9090",
    out: Annotated[Path, typer.Option(help="A folder for the pages.")] = Path("boards"),
    start: Annotated[
        str | None, typer.Option("--from", help="now-6h, epoch ms or an ISO time; else the board's.")
    ] = None,
    end: Annotated[str | None, typer.Option("--to", help="Likewise.")] = None,
    span: Annotated[str | None, typer.Option("--range", help="24h: the same as --from now-24h.")] = None,
    var: Annotated[
        list[str] | None, typer.Option(help="A variable's value, site=manila-1; again for a second value.")
    ] = None,
    folder: Annotated[Path | None, typer.Option("--boards", help="Board files of your own.")] = None,
) -> None:
    """Each board as one static HTML page, from a Prometheus, without a Grafana."""
    from streams.ops.preview import PreviewOptions, preview

    if span and start:
        raise CommandError("--range and --from contradict each other: give one", WRONG_USE)
    chosen: dict[str, list[str]] = {}
    for name, value in (pair for each in var or [] for pair in _pairs("--var", [each]).items()):
        chosen.setdefault(name, []).append(value)
    options = PreviewOptions(prometheus, out, uids or (), chosen, f"now-{span}" if span else start, end, folder)
    for path in preview(options):
        terminal.say(path)


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


if __name__ == "__main__":
    main()

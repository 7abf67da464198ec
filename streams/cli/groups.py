"""Commands of two words: arguments and help only; each command's work is in streams.ops."""

from pathlib import Path
from typing import Annotated

import typer

from streams.cli.flags import Bootstrap, GroupId, flag_of, pairs_of, policy_of, settings_of
from streams.ops import terminal
from streams.ops.errors import FAILED, WRONG_USE, CommandError
from streams.runtime.settings import CONNECTION, LOGIN

policy = typer.Typer(help="The policy file.", no_args_is_help=True)


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

    rules, console = policy_of(file), Console()
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


@topics.command("create")
def topics_create(
    bootstrap: Bootstrap = None,
    id: GroupId = None,
    partitions: Annotated[int, typer.Option(help="Partitions of each topic.", min=1)] = 4,
) -> None:
    """Creates the topics that are missing, with their settings."""
    from streams.ops.topics import create

    for line in create(settings_of(*CONNECTION, bootstrap=bootstrap, id=id), partitions):
        terminal.say(line)


@topics.command("check")
def topics_check(bootstrap: Bootstrap = None, id: GroupId = None) -> None:
    """Says what is missing or set otherwise, and how to mend it; exit code 1 if anything is."""
    from streams.ops.topics import check

    findings = check(settings_of(*CONNECTION, bootstrap=bootstrap, id=id))
    differences = [*findings.problems, *findings.warnings]
    for line in differences:
        terminal.say(line)
    for setting in findings.not_shown:
        terminal.say(f"not checked, the broker does not tell it: {setting}")
    if differences:
        raise typer.Exit(FAILED)
    terminal.say("All topics are there" + (", with their settings." if not findings.not_shown else "."))


sites = typer.Typer(help="Which sites there are, and removing one.", invoke_without_command=True)


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
    metrics_cafile: Annotated[Path | None, flag_of("metrics_cafile")] = None,
) -> None:
    """The sites with their events, combinations, first and last event, those with the most combinations first."""
    import time

    from rich.console import Console

    from streams.ops import sites as ops
    from streams.views.http import Unreachable
    from streams.views.samples import ONCE_SECONDS, read_prometheus, read_worker

    if context.invoked_subcommand is not None:
        return
    settings = settings_of(*LOGIN, metrics_cafile=metrics_cafile)
    trust = settings.metrics_trust()
    try:
        if prometheus:
            samples = read_prometheus(url, trust, names=ops.READ, timeout_seconds=ONCE_SECONDS)
        else:
            login = settings.metrics_login()
            samples = read_worker(url, login, trust, names=ops.READ, timeout_seconds=ONCE_SECONDS)
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
    for name, value in (pair for each in var or [] for pair in pairs_of("--var", [each]).items()):
        chosen.setdefault(name, []).append(value)
    options = PreviewOptions(prometheus, out, uids or (), chosen, f"now-{span}" if span else start, end, folder)
    for path in preview(options):
        terminal.say(path)

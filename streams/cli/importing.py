"""`labelwatch import`, `map suggest` and `events check`: arguments and help only; the work is in streams.ops."""

import asyncio
from pathlib import Path
from typing import Annotated, Any

import typer

from streams.cli.flags import (
    Bootstrap,
    PolicyFile,
    agent_names_of,
    flag_of,
    kafka_target,
    map_of,
    pairs_of,
    policy_of,
    settings_of,
)
from streams.ops import terminal
from streams.ops.errors import FAILED, WRONG_USE, CommandError
from streams.runtime.settings import CONNECTION

events = typer.Typer(help="Canonical events.", no_args_is_help=True)
mappings = typer.Typer(help="Mappings of files that others wrote.", no_args_is_help=True)

_Delimiter = Annotated[str | None, typer.Option(help="Between cells: one character or its name, such as semicolon.")]
_Encoding = Annotated[str | None, typer.Option(help="utf-8, utf-16, cp1252, gb18030 ...; else by the bytes.")]
_Format = Annotated[
    str | None, typer.Option(help="csv, tsv, json, jsonl, label-studio, cvat, excel or parquet; else by the content.")
]
_Quote = Annotated[str | None, typer.Option(help="none: quotes are characters like any other.")]
_Sheet = Annotated[str | None, typer.Option(help="Of an Excel file; else the one that has rows.")]


@mappings.command("suggest")
def map_suggest(
    file: Annotated[Path, typer.Argument(help="CSV, TSV, JSON, Excel, Parquet; packed too; - is standard input.")],
    delimiter: _Delimiter = None,
    encoding: _Encoding = None,
    format: _Format = None,
    quote: _Quote = None,
    sheet: _Sheet = None,
) -> None:
    """A mapping file for a table, by its headers and values, with the reasons; to check, and to give to import."""
    from streams.sources.mapping.suggest import suggest
    from streams.sources.tables.reading import open_table
    from streams.sources.tables.table import TableReading

    reading = TableReading(format, delimiter, encoding, quote, sheet)
    with open_table(file, reading) as table:
        terminal.write_utf_8()
        for line in suggest(table, reading):
            terminal.say(line)


@events.command("check")
def events_check(
    file: Annotated[Path | None, typer.Argument(help="JSON lines, one event each; - is standard input.")] = None,
    topic: Annotated[bool, typer.Option("--topic", help="The events topic in place of a file.")] = False,
    limit: Annotated[int, typer.Option(help="Lines named; 0 names all.", min=0)] = 20,
    bootstrap: Bootstrap = None,
) -> None:
    """Says what is wrong with each line or record, as a worker would: exit code 1 if anything is."""
    from streams.ops.check_events import check, check_topic

    if topic:
        if file is not None:
            raise CommandError("give a file or --topic, not both", WRONG_USE)
        checked = asyncio.run(check_topic(settings_of(*CONNECTION, bootstrap=bootstrap), limit, terminal.say))
    elif file is None:
        raise CommandError("give a file of JSON lines, - for standard input, or --topic", WRONG_USE)
    else:
        checked = check(file, limit, terminal.say)
    for line in checked.lines():
        terminal.say(line)
    if checked.rejected or checked.keyed_otherwise:
        raise typer.Exit(FAILED)


def import_files(
    files: Annotated[
        list[Path],
        typer.Argument(help="CSV, TSV, JSON, Excel, Parquet, exports of Label Studio and CVAT; - is stdin."),
    ],
    map: Annotated[str | None, typer.Option(help="A mapping file, M.toml, or agent_id=worker,task_id=item,...")] = None,
    set: Annotated[list[str] | None, typer.Option(help="A value for every row, site_id=lima-2.")] = None,
    zone: Annotated[str | None, typer.Option(help="Of times that name none: Asia/Manila, +08:00.")] = None,
    time_format: Annotated[
        str | None, typer.Option(help="iso, epoch_s, epoch_ms, epoch_us, crowdflower, mturk, or %d/%m/%Y %H:%M.")
    ] = None,
    times_from: Annotated[
        str | None, typer.Option(help="For rows without times: a begin, from which each person's durations are added.")
    ] = None,
    decimal: Annotated[str | None, typer.Option(help="Decimal sign of numbers: . or ,")] = None,
    delimiter: _Delimiter = None,
    encoding: _Encoding = None,
    format: _Format = None,
    quote: _Quote = None,
    sheet: _Sheet = None,
    to: Annotated[str | None, typer.Option(help="kafka: write the events to the events topic.")] = None,
    out: Annotated[Path | None, typer.Option(help="Write them to a file of JSON lines.")] = None,
    backfill: Annotated[
        Path | None, typer.Option(help="Write what boards would have shown to Prometheus' folder of data.")
    ] = None,
    consensus: Annotated[
        str | None,
        typer.Option(help="majority or dawid-skene: no reviews, so labels are judged by those of the other people."),
    ] = None,
    presence_gap_minutes: Annotated[
        float | None,
        typer.Option(help="No states: estimate them, people being there in gaps between labels up to this; 15."),
    ] = None,
    allow_bad: Annotated[int, typer.Option(help="So many rows may be unusable; they are left out.", min=0)] = 0,
    bootstrap: Bootstrap = None,
    policy: PolicyFile = None,
    data_dir: Annotated[Path | None, flag_of("data_dir")] = None,
    agent_labels: Annotated[str | None, flag_of("agent_labels")] = None,
    plain: Annotated[bool, typer.Option("--plain", help="No progress bar.")] = False,
) -> None:
    """Files of any tool as events; a dry run, until --to kafka, --out or --backfill says where they go."""
    from rich.console import Console

    from streams.ops import import_files as ops
    from streams.sources.mapping.model import MappingOverrides
    from streams.sources.tables.table import TableReading

    if to not in ("kafka", None):
        raise CommandError(f"--to {to!r}: use kafka, or --out FILE", WRONG_USE)
    if sum(each is not None for each in (to, out, backfill)) > 1:
        raise CommandError("--to, --out and --backfill: give one", WRONG_USE)
    request = ops.ImportRequest(
        files,
        map_of(map),
        pairs_of("--set", set or []),
        MappingOverrides(zone, time_format, decimal, times_from),
        TableReading(format, delimiter, encoding, quote, sheet),
        allow_bad,
        consensus,
        presence_gap_minutes,
    )
    console = Console(stderr=True, quiet=plain)
    dry = to is None and out is None and backfill is None
    with ops.importing(request, console, dry, out.parent if out is not None else None) as imported:
        if dry:
            for line in ops.sample_lines(imported.report):
                terminal.say(line)
        for line in (*ops.report_lines(imported.report), *ops.bad_lines(imported.report)):
            terminal.say(line)
        ops.refuse_bad(imported.report, allow_bad)
        if dry:
            terminal.say("dry run: nothing was written; add --to kafka, --out FILE.jsonl or --backfill DIR")
        elif out is not None:
            written = ops.write_to_file(imported, out, files)
            _done(f"{written:,} events written: {out}", imported.sorter.doubles)
        elif backfill is not None:
            _backfill(ops, imported, backfill, policy, data_dir, agent_labels)
        else:
            from streams.ops.import_to_kafka import write_to_kafka

            if (old := ops.old_line(imported.report)) is not None:
                terminal.say(old, err=True)
            settings = settings_of(*CONNECTION, bootstrap=bootstrap)
            known = write_to_kafka(
                imported, settings, kafka_target(bootstrap), lambda line: terminal.say(line, err=True)
            )
            _done(f"{known.passed_on:,} events written to Kafka", imported.sorter.doubles)
            if known.left_out:
                terminal.say(f"{known.left_out:,} events were in the topic already, by an earlier import: left out")


def _done(line: str, doubles: int) -> None:
    terminal.say(line)
    if doubles:
        terminal.say(f"{doubles:,} events are in two files, or twice by their own id: counted once")


def _backfill(
    ops: Any, imported: Any, folder: Path, policy: Path | None, data_dir: Path | None, agent_labels: str | None
) -> None:
    import tempfile

    from streams.ops.backfill import BackfillOptions, backfill

    settings = settings_of(policy=policy, data_dir=data_dir, agent_labels=agent_labels)
    names = agent_names_of(settings)
    with tempfile.TemporaryDirectory(prefix="labelwatch-import-") as scratch:
        file = Path(scratch) / "events.jsonl"
        written = ops.write_to_file(imported, file, ())
        options = BackfillOptions(file, folder, policy_of(settings.policy), names)
        backfill(options, lambda line: terminal.say(line, err=True))
    _done(f"{written:,} events as history in {folder}", imported.sorter.doubles)

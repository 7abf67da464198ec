"""`labelwatch bridge`: arguments and help only; the work is in streams.ops."""

from typing import Annotated

import typer

from schemas.topics import BRIDGE_REJECTED
from streams.cli.flags import Bootstrap, GroupId, MetricsPort, flag_of, kafka_target, map_of, pairs_of, settings_of
from streams.ops import terminal
from streams.ops.errors import FAILED, WRONG_USE, CommandError
from streams.runtime.settings import CONNECTION

_METRICS_PORT = 9467


def bridge(
    source: Annotated[str, typer.Option("--from", help="Topic of JSON records, on the same brokers.")],
    map: Annotated[str, typer.Option(help="A mapping file, M.toml, or agent_id=worker,task_id=item,...")],
    set: Annotated[list[str] | None, typer.Option(help="A value for every record, site_id=lima-2.")] = None,
    zone: Annotated[str | None, typer.Option(help="Of times that name none: Asia/Manila, +08:00.")] = None,
    time_format: Annotated[
        str | None, typer.Option(help="iso, epoch_s, epoch_ms, epoch_us, crowdflower, mturk, or %d/%m/%Y %H:%M.")
    ] = None,
    to: Annotated[str | None, typer.Option(help="kafka: write the events, until it is ended.")] = None,
    rejected: Annotated[str, typer.Option(help="Topic of records that cannot be used; made if missing.")] = (
        BRIDGE_REJECTED
    ),
    bootstrap: Bootstrap = None,
    id: GroupId = None,
    session_timeout_seconds: Annotated[float | None, flag_of("session_timeout_seconds")] = None,
    metrics_port: MetricsPort = None,
    metrics_host: Annotated[str | None, flag_of("metrics_host")] = None,
    log_format: Annotated[str | None, flag_of("log_format")] = None,
    log_level: Annotated[str | None, flag_of("log_level")] = None,
) -> None:
    """Another topic's JSON records as events, each exactly once; a dry run, until --to kafka."""
    from streams.ops import bridge as ops
    from streams.ops.import_files import stated_mapping
    from streams.runtime import logs
    from streams.sources.mapped_topic import TopicMapping
    from streams.sources.mapping.errors import MappingError
    from streams.sources.mapping.model import MappingOverrides

    if to not in ("kafka", None):
        raise CommandError(f"--to {to!r}: use kafka, or leave it out for a dry run", WRONG_USE)
    settings = settings_of(
        *CONNECTION,
        bootstrap=bootstrap,
        id=id,
        session_timeout_seconds=session_timeout_seconds,
        metrics_port=_METRICS_PORT if metrics_port is None else metrics_port,
        metrics_host=metrics_host,
        log_format=log_format,
        log_level=log_level,
    )
    overrides, constants = MappingOverrides(zone, time_format), pairs_of("--set", set or [])
    try:
        mapping = TopicMapping(stated_mapping(map_of(map) or {}, constants, overrides), source)
    except MappingError as error:
        raise CommandError(str(error), WRONG_USE) from error
    options = ops.options_of(settings, source, rejected, kafka_target(bootstrap))
    if to is None:
        found = ops.trial(settings, source, mapping)
        for line in found.lines():
            terminal.say(line)
        terminal.say("dry run: nothing was written; add --to kafka to bridge from the topic's begin on")
        if found.records and not found.events:
            raise typer.Exit(FAILED)
        return
    logs.configure(form=settings.log_format, level=settings.log_level, group=options.group, worker="bridge")
    ops.bridge(settings, options, mapping)

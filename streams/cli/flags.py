"""Flags that are settings, derived from `Settings`; and what commands make of them."""

import dataclasses
import functools
import inspect
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Annotated, Any, get_args, get_type_hints

import typer

from streams.ops import terminal
from streams.ops.errors import WRONG_USE, CommandError
from streams.runtime.settings import CONNECTION, Settings, default_of, help_of, option_of, service_links

#: Settings of readers of a worker's page, which a worker has no use for.
_OF_READERS = frozenset({"metrics_cafile"})


def flag_of(name: str, of: type[Settings] = Settings) -> Any:
    """A flag that is a setting: its help says the variable and the default."""
    default = default_of(name, of)
    # Typer shows the default of a function, and the function's is None: not given.
    return typer.Option(
        option_of(name), help=help_of(name, of), show_default=False if default is None else str(default)
    )


Bootstrap = Annotated[str | None, flag_of("bootstrap")]
GroupId = Annotated[str | None, flag_of("id")]
PolicyFile = Annotated[Path | None, flag_of("policy")]
MetricsPort = Annotated[int | None, flag_of("metrics_port")]


def with_all_flags(command: Callable[..., None]) -> Callable[..., None]:
    """Gives a command that takes any keyword a flag for each setting of a worker; secrets are never flags.

    Words of a choice are checked by `Settings`, whose sentence says what is allowed.
    """
    return with_flags(Settings, [each.name for each in dataclasses.fields(Settings) if each.name not in _OF_READERS])(
        command
    )


def with_flags(of: type[Settings], names: Sequence[str]) -> Callable[[Callable[..., None]], Callable[..., None]]:
    """The same for other settings, and some of them."""
    hints = get_type_hints(of)
    secret = {each.name for each in dataclasses.fields(of) if each.metadata["secret"]}

    def decorate(command: Callable[..., None]) -> Callable[..., None]:
        command.__signature__ = inspect.Signature(  # type: ignore[attr-defined]  # of functions, which all of these are
            [
                inspect.Parameter(
                    name,
                    inspect.Parameter.KEYWORD_ONLY,
                    default=None,
                    annotation=Annotated[_kind(hints[name]) | None, flag_of(name, of)],
                )
                for name in names
                if name not in secret
            ]
        )
        return command

    return decorate


def _kind(hint: Any) -> type:
    """What the command line reads for a setting of this type."""
    kinds = (hint, *get_args(hint))
    return next((kind for kind in (int, float, Path) if kind in kinds), str)


def settings_of(*only: str, **flags: Any) -> Settings:
    """Settings of a command: its flags, and what else it uses; no command fails for a variable that it does not use."""
    for sentence in service_links(only=[*flags, *only]):
        terminal.say(f"labelwatch: {sentence}", err=True)
    return Settings.resolve(only=only, **flags)


def policy_of(path: Path | None) -> Any:
    """The policy of a file, or its defaults; a wrong one ends the command."""
    from schemas.policy import Policy, PolicyError

    try:
        return Policy.load(path)
    except PolicyError as error:
        raise CommandError(str(error), WRONG_USE) from error


def agent_names_of(settings: Settings) -> Any:
    """How a command names people; a key that cannot be had ends it."""
    from streams.exporter.pseudonyms import PseudonymKeyError, agent_names

    try:
        return agent_names(settings.agent_labels, settings.data_dir)
    except PseudonymKeyError as error:
        raise CommandError(str(error), WRONG_USE) from error


def kafka_target(bootstrap: str | None) -> Any:
    """Where a command writes its events: the brokers, and how to log in there."""
    from streams.runtime.access import why_not
    from streams.sources.sinks import KafkaTarget

    settings = settings_of(*CONNECTION, bootstrap=bootstrap)
    return KafkaTarget(settings.bootstrap, security=settings.security(), why_not=functools.partial(why_not, settings))


def pairs_of(option: str, parts: list[str]) -> dict[str, str]:
    """Names and values of an option that is given as NAME=VALUE."""
    pairs = dict(part.split("=", 1) for part in parts if "=" in part)
    if len(pairs) != len(parts):
        raise CommandError(f"{option} {','.join(parts)!r}: give NAME=VALUE, each name once", WRONG_USE)
    return pairs


def map_of(text: str | None) -> Path | dict[str, str] | None:
    """What `--map` gives: a mapping file, or pairs; None where it is not given."""
    if text is None:
        return None
    return Path(text) if text.endswith(".toml") or "=" not in text else pairs_of("--map", text.split(","))

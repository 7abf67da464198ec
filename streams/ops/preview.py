"""`labelwatch boards preview`: the boards as static pages, from a Prometheus, without a Grafana."""

import json
import time
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from importlib.resources import files
from importlib.resources.abc import Traversable
from pathlib import Path

from schemas.text import choice
from streams.ops.errors import WRONG_USE, CommandError
from streams.views.http import Unreachable

_NEEDED = ("jinja2", "markdown_it", "matplotlib")
_INSTALL = "install labelwatch with its boards extra: pip install 'labelwatch[boards]' (`make setup` does)"


@dataclass(frozen=True, slots=True)
class PreviewOptions:
    """What a person asks for.

    Attributes:
        prometheus: Its address.
        out: Folder for the pages, made if it is not there.
        boards: Uids; none means all.
        chosen: Values of variables, by name; several for a variable that takes several.
        start: Begin of the time range, as in Grafana; None for each board's own.
        end: Its end.
        folder: Board files; None for those that come with labelwatch.
    """

    prometheus: str
    out: Path
    boards: Sequence[str] = ()
    chosen: Mapping[str, Sequence[str]] = field(default_factory=dict)
    start: str | None = None
    end: str | None = None
    folder: Path | None = None


def preview(options: PreviewOptions) -> Iterator[Path]:
    """Writes a page a board, and tells each as it is done.

    Raises:
        CommandError: Prometheus is not there, a board cannot be drawn, or the extra is not installed.
    """
    try:
        from streams.views.preview.board import board_of
        from streams.views.preview.errors import PreviewError
        from streams.views.preview.page import page
        from streams.views.preview.prometheus import Prometheus
        from streams.views.preview.times import TimeRange, moment, zone_of
    except ModuleNotFoundError as error:
        if error.name is None or error.name.partition(".")[0] not in _NEEDED:
            raise
        raise CommandError(f"drawing boards needs {error.name}, which is not installed: {_INSTALL}") from error
    prometheus, now = Prometheus(options.prometheus), time.time()
    try:
        boards = [board_of(data) for data in _chosen(options)]
        options.out.mkdir(parents=True, exist_ok=True)
        for board in boards:
            window = TimeRange(
                moment(options.start or board.time_from, now),
                moment(options.end or board.time_to, now),
                zone_of(board.timezone),
            )
            if window.start >= window.end:
                raise CommandError("--from must be before --to", WRONG_USE)
            path = options.out / f"{board.uid}.html"
            path.write_text(page(board, prometheus, window, options.chosen), encoding="utf-8")
            yield path
    except PreviewError as error:
        raise CommandError(str(error)) from error
    except Unreachable as error:
        raise CommandError(f"{error}; start a Prometheus, or give its address with --prometheus") from error
    except OSError as error:
        raise CommandError(f"{options.out}: {error.strerror}; give a folder that can be written with --out") from error


def board_files(folder: Path | None = None) -> list[Traversable]:
    """The boards' JSON files, by name: those of a folder, or those that come with labelwatch."""
    if folder is not None and not folder.is_dir():
        raise CommandError(f"{folder} is no folder; give one with board files with --boards", WRONG_USE)
    root: Traversable = files("grafana") if folder is None else folder
    return sorted(_json_below(root), key=lambda file: file.name)


def _json_below(folder: Traversable) -> Iterator[Traversable]:
    for each in folder.iterdir():
        if each.is_dir():
            yield from _json_below(each)
        elif each.name.endswith(".json"):
            yield each


def _chosen(options: PreviewOptions) -> list[dict[str, object]]:
    """The boards that are asked for, in their files' order."""
    found: dict[str, dict[str, object]] = {}
    for file in board_files(options.folder):
        try:
            data = json.loads(file.read_text("utf-8"))
        except ValueError as error:
            raise CommandError(f"{file.name} is no JSON: {error}") from error
        if isinstance(data, dict) and data.get("uid") and "panels" in data:
            found[str(data["uid"])] = data
    if not found:
        where = options.folder or "this installation"
        raise CommandError(f"no board in {where}; give a folder of board files with --boards")
    if unknown := [uid for uid in options.boards if uid not in found]:
        raise CommandError(f"no board {unknown[0]!r}: use {choice(found)}", WRONG_USE)
    return [data for uid, data in found.items() if not options.boards or uid in options.boards]

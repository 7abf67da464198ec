"""A file's bytes, unpacked, and what they are: by their content, not by the name alone; in which encoding."""

import codecs
import contextlib
import gzip
import io
import re
import shutil
import struct
import sys
import tempfile
import zipfile
import zlib
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from pathlib import Path
from typing import IO, BinaryIO

from streams.sources.errors import SourceError

#: What a name of a file promises, where it promises something.
_ENDINGS = {
    ".csv": "delimited", ".tsv": "delimited", ".tab": "delimited", ".txt": "delimited",
    ".json": "json", ".jsonl": "json lines", ".ndjson": "json lines",
    ".xlsx": "Excel", ".xlsm": "Excel", ".xls": "Excel", ".parquet": "Parquet",
}  # fmt: skip  # a table
#: First bytes of files that are no text, what they are, and what to do.
_BINARY: tuple[tuple[bytes, str, str], ...] = (
    (b"\xd0\xcf\x11\xe0", "an old Excel file (.xls), or one with a password", "save it as .xlsx or CSV UTF-8 in Excel"),
    (b"SQLite format 3\0", "an SQLite database", "export the table as CSV"),
    (b"%PDF", "a PDF", "export the table as CSV"),
    (b"7z\xbc\xaf", "a 7-Zip archive", "unpack it, or make a .zip of it"),
    (b"\xfd7zXZ", "an xz archive", "unpack it, or make a .gz of it"),
    (b"BZh", "a bzip2 archive", "unpack it, or make a .gz of it"),
    (b"(\xb5/\xfd", "a zstd archive", "unpack it, or make a .gz of it"),
)
_PARQUET = b"PAR1"
_BOMS = (
    (codecs.BOM_UTF8, "utf-8-sig"),
    # Before UTF-16, whose mark is its begin.
    (codecs.BOM_UTF32_LE, "utf-32"),
    (codecs.BOM_UTF32_BE, "utf-32"),
    (codecs.BOM_UTF16_LE, "utf-16"),
    (codecs.BOM_UTF16_BE, "utf-16"),
)
#: What the standard library says of an archive that is no good: cut off or garbled (the first four, and ValueError for
#: places and sizes that cannot be), packed by a method that it lacks (NotImplementedError), or with a password, for
#: which zipfile has no error of its own (RuntimeError).
_BROKEN = (zipfile.BadZipFile, zlib.error, struct.error, EOFError, NotImplementedError, RuntimeError, ValueError)
_HTML = re.compile(rb"\s*<(!doctype\s+html|html|head|body)\b", re.IGNORECASE)
_HEAD = 1 << 16
_CHUNK = 1 << 20
#: Bytes that are not ASCII, looked at where an encoding is guessed.
_GUESSED_FROM = 1 << 20
_HIGH = re.compile(rb"[\x80-\xff]+")
#: A pair of GB18030 that texts are made of: punctuation and the characters in use.
_GB_PAIRS = re.compile(rb"([\xa1-\xf7][\xa1-\xfe]|[\x81-\xfe][\x40-\xfe])+")


@dataclass(slots=True)
class OpenedFile:
    """A file's bytes, to read from the begin as often as wanted.

    Attributes:
        name: For errors.
        open: Opens the unpacked bytes anew.
        path: Of the file on disk.
        kind: `delimited`, `json`, `json lines`, `Excel`, `Parquet` or `CVAT`, by its content.
        encoding: As Python calls it.
        notes: What was found or guessed.
        size: Bytes on disk.
        raw: The file on disk that is being read, for progress.
    """

    name: str
    open: Callable[[], IO[bytes]]
    path: Path
    kind: str = ""
    encoding: str = "utf-8"
    notes: list[str] = field(default_factory=list)
    size: int = 0
    raw: BinaryIO | None = None

    def text(self) -> io.TextIOWrapper:
        """The decoded text, with line ends as they are."""
        return io.TextIOWrapper(self.open(), self.encoding, newline="")

    def where(self) -> int:
        """Bytes of the file on disk that were read."""
        return 0 if self.raw is None or self.raw.closed else self.raw.tell()


@contextlib.contextmanager
def opened(path: Path, encoding: str | None = None, kind: str | None = None) -> Iterator[OpenedFile]:
    """Opens a file, or standard input by the name `-`.

    Args:
        path: The file.
        encoding: Stated by a person; None: by its bytes.
        kind: Likewise: `delimited`, `json` or `json lines`; then neither name nor content is asked.

    Raises:
        SourceError: It is not there, is empty, or is of another kind.
    """
    with contextlib.ExitStack() as stack:
        if str(path) == "-":
            kept = stack.enter_context(tempfile.NamedTemporaryFile(prefix="labelwatch-stdin-"))
            shutil.copyfileobj(sys.stdin.buffer, kept)
            kept.flush()
            name, path, ending = "standard input", Path(kept.name), ""
        else:
            name, ending = path.name, path.suffix.lower()
        file = OpenedFile(name, lambda: io.BytesIO(), path)
        try:
            file.size = path.stat().st_size
            with path.open("rb") as begin:
                head = begin.read(_HEAD)
            ending = _unpack(file, path, head, ending, stack)
            if not file.kind:
                with file.open() as begin:
                    packed, head = head, begin.read(_HEAD)
                if not head.strip():
                    raise SourceError(f"{file.name}: is empty; nothing was imported")
                _refuse_binary(file, head, packed=head != packed)
                file.encoding = _stated(file, encoding) if encoding else _encoding(file, head)
                file.kind = kind or _kind(file, ending)
            elif kind not in (file.kind, None):
                raise SourceError(f"{file.name}: its content is {file.kind}, not {kind}; leave out --format")
        except IsADirectoryError:
            raise SourceError(f"{path}: is a folder; give the path of a file") from None
        except OSError as error:
            raise SourceError(f"{path}: {error.strerror or error}; give the path of a file that can be read") from error
        yield file


def _unpack(file: OpenedFile, path: Path, head: bytes, ending: str, stack: contextlib.ExitStack) -> str:
    """Makes `file.open` give unpacked bytes; returns the ending of the name of what was packed."""

    def raw() -> BinaryIO:
        file.raw = stack.enter_context(path.open("rb"))
        return file.raw

    if head.startswith(_PARQUET):
        _check_name(file, ending, (".parquet",), "a Parquet file")
        file.kind = "Parquet"
        return ending
    _refuse_binary(file, head)
    if head.startswith(b"\x1f\x8b"):
        _check_name(file, ending, (".gz", ".gzip"), "a gzip archive")
        file.open = lambda: io.BufferedReader(_Unzipped(gzip.GzipFile(fileobj=raw()), file.name), _CHUNK)
        return Path(path.stem).suffix.lower()
    if head.startswith((b"PK\x03\x04", b"PK\x05\x06")):
        try:
            archive = stack.enter_context(zipfile.ZipFile(path))
        except _BROKEN:
            raise SourceError(f"{file.name}: is a zip archive that is cut off or broken; get it again") from None
        names = [each.filename for each in archive.infolist() if not each.is_dir()]
        if "xl/workbook.xml" in names:
            _check_name(file, ending, (".xlsx", ".xlsm"), "an Excel file")
            file.kind = "Excel"
            return ending
        if "[Content_Types].xml" in names or "META-INF/manifest.xml" in names:
            raise SourceError(f"{file.name}: is a document of another office program; save the table as .xlsx or CSV")
        names = [name for name in names if not name.startswith("__MACOSX/") and not name.endswith(".DS_Store")]
        _check_name(file, ending, (".zip",), "a zip archive")
        if len(names) != 1:
            held = ", ".join(names[:5]) or "none"
            raise SourceError(f"{file.name}: holds {len(names)} files ({held}); unpack it and give the files to import")
        if archive.getinfo(names[0]).flag_bits & 1:
            raise SourceError(f"{file.name}: is locked with a password; unpack it first")
        packed = file.name
        file.open = lambda: io.BufferedReader(_Unzipped(_member(archive, names[0], packed), packed), _CHUNK)
        file.name = f"{file.name}/{names[0]}"
        return Path(names[0]).suffix.lower()
    file.open = raw
    return ending


def _refuse_binary(file: OpenedFile, head: bytes, *, packed: bool = False) -> None:
    for magic, what, remedy in _BINARY:
        if head.startswith(magic):
            raise SourceError(f"{file.name}: is {what}; {remedy}")
    if packed and head.startswith((_PARQUET, b"PK\x03\x04", b"\x1f\x8b")):
        raise SourceError(
            f"{file.name}: holds an archive, an Excel or a Parquet file; unpack it and give what it holds"
        )


def _member(archive: zipfile.ZipFile, name: str, packed: str) -> IO[bytes]:
    try:
        return archive.open(name)
    except _BROKEN:
        raise SourceError(f"{packed}: is a zip archive that is cut off or broken; get it again") from None


class _Unzipped(io.RawIOBase):
    """Unpacked bytes, whose faults are sentences."""

    def __init__(self, file: IO[bytes] | gzip.GzipFile, name: str) -> None:
        self._file, self._name = file, name

    def readable(self) -> bool:
        return True

    def readinto(self, buffer: "memoryview | bytearray") -> int:  # type: ignore[override]  # of the buffers that come
        try:
            data = self._file.read(len(buffer))
        except (OSError, *_BROKEN) as error:
            raise SourceError(f"{self._name}: cannot be unpacked ({error}); get it again") from error
        buffer[: len(data)] = data
        return len(data)


def _check_name(file: OpenedFile, ending: str, right: tuple[str, ...], what: str) -> None:
    if ending in _ENDINGS and ending not in right:
        raise SourceError(
            f"{file.name}: is {what} by its content, not {ending}; rename it to {right[0]} if it should be"
        )


def _stated(file: OpenedFile, encoding: str) -> str:
    try:
        name = codecs.lookup(encoding).name
        "".encode(name)
    except LookupError:
        raise SourceError(f"encoding {encoding!r} is not known; use utf-8, utf-16, cp1252 or gb18030") from None
    # A mark at the begin is no part of the first column's name.
    return "utf-8-sig" if name == "utf-8" else name


def _encoding(file: OpenedFile, head: bytes) -> str:
    for mark, name in _BOMS:
        if head.startswith(mark):
            if name != "utf-8-sig":
                file.notes.append(f"{file.name}: read as {name.upper()}, by the mark at its begin")
            return name
    if b"\0" in head:
        evens, odds = head[::2].count(0), head[1::2].count(0)
        # Of UTF-16 one half of the bytes has them; a file that a crash has filled up has them in both.
        if max(evens, odds) > len(head) // 8 and min(evens, odds) < max(evens, odds) // 4:
            name = "utf-16-le" if odds > evens else "utf-16-be"
            raise SourceError(f"{file.name}: looks like UTF-16 without a mark; state it: --encoding {name}")
        # A few cost their rows alone.
        if head.count(0) > len(head) // 100:
            line = head.count(b"\n", 0, head.index(0)) + 1
            raise SourceError(f"{file.name} line {line}: has a NUL byte, which no text has; export the file again")
    high, bad_line = _not_utf_8(file)
    if high is None:
        return "utf-8"
    guessed = _guess(high)
    if guessed is None:
        raise SourceError(
            f"{file.name} line {bad_line}: is not UTF-8, nor text that can be guessed; state it: --encoding NAME"
        )
    file.notes.append(
        f"{file.name}: encoding guessed: {guessed}, since line {bad_line} is not UTF-8; check the names below, or "
        f"state it: --encoding {guessed}"
    )
    return guessed


def _not_utf_8(file: OpenedFile) -> tuple[bytes | None, int]:
    """None where all is UTF-8; else lines that are not ASCII, and the number of the first that is not UTF-8."""
    decoder = codecs.getincrementaldecoder("utf-8")()
    line = 1
    with file.open() as raw:
        while chunk := raw.read(_CHUNK):
            try:
                decoder.decode(chunk)
            except UnicodeDecodeError as error:
                begin = max(error.start, 0)
                found = [chunk, *iter(lambda: raw.read(_CHUNK), b"")][: _GUESSED_FROM // _CHUNK + 1]
                return b"".join(found), line + error.object.count(b"\n", 0, begin)
            line += chunk.count(b"\n")
        try:
            decoder.decode(b"", final=True)
        except UnicodeDecodeError:
            return chunk or b"\xff", line
    return None, 0


def _guess(data: bytes) -> str | None:
    """GB18030 writes a character as two bytes, which come in runs; cp1252 has single ones, between letters of ASCII."""
    runs = _HIGH.findall(data)
    paired = sum(len(run) for run in runs if len(run) >= 2 and len(run) % 2 == 0)
    total = sum(map(len, runs))
    # The end may be cut within a character, or a line of the other part of a mixed file.
    body = data[: data.rfind(b"\n") + 1] or data
    if paired > total / 2:
        with contextlib.suppress(UnicodeDecodeError):
            body.decode("gb18030")
            return "gb18030"
    with contextlib.suppress(UnicodeDecodeError):
        body.decode("cp1252")
        return "cp1252"
    return None


def _kind(file: OpenedFile, ending: str) -> str:
    """What the content is; a name that promises otherwise is refused."""
    with file.text() as text:
        try:
            head = text.read(_HEAD)
        except UnicodeError as error:
            raise SourceError(
                f"{file.name}: cannot be read as {file.encoding}: {error}; state another --encoding"
            ) from error
    stripped = head.lstrip()
    if _HTML.match(stripped.encode("utf-8", "replace")):
        raise SourceError(f"{file.name}: is an HTML page, such as an error or a log-in; download the table itself")
    promised = _ENDINGS.get(ending)
    if stripped.startswith(("<?xml", "<annotations")):
        # One with definitions of its own could unpack to anything.
        if "<annotations" not in head or "<!DOCTYPE" in head or promised is not None:
            raise SourceError(f"{file.name}: is XML, and not CVAT's as .xml; export it as CSV or JSON")
        return "CVAT"
    found = "json" if stripped[:1] == "[" else "json lines" if stripped[:1] == "{" else "delimited"
    if promised == "delimited" and ending != ".txt" and found == "json lines":
        # A header may begin with anything, but no cell but JSON begins so.
        found = "json lines" if re.match(r'\{\s*"', stripped) else "delimited"
    if promised == "json" and found == "json lines":
        return "json"
    if promised is not None and promised != found and ending != ".txt":
        words = {"json": "one JSON array", "json lines": "JSON lines"}
        words["delimited"] = "plain text" if promised in ("Excel", "Parquet") else "no JSON"
        formats = {"json": "json", "json lines": "jsonl", "delimited": "csv"}
        raise SourceError(
            f"{file.name} line 1: is {words[found]} by its content, not what {ending} says; rename it, or state it: "
            f"--format {formats[found]}"
        )
    return found

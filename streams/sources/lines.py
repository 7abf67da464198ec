"""Lines of a file of JSON lines as its writer meant them: what an editor puts before them is no part of an event."""

from collections.abc import Iterable, Iterator

from streams.sources.errors import SourceError

_UTF_8 = b"\xef\xbb\xbf"
_UTF_16 = (b"\xff\xfe", b"\xfe\xff")


def json_lines(file: Iterable[bytes], name: object) -> Iterator[tuple[int, bytes]]:
    """Lines that are not empty, byte for byte, without their ends and the byte order mark of Windows' programs.

    Args:
        file: Raw lines.
        name: The file's, for the error.

    Yields:
        A line's number, from 0, and its bytes.

    Raises:
        SourceError: The file is in UTF-16.
    """
    for number, raw in enumerate(file):
        if raw.startswith(_UTF_16) and not number:
            raise SourceError(f"{name}: is in UTF-16, as PowerShell's > writes; save it in UTF-8")
        # Files that were put together have one at the begin of each part.
        line = raw.removesuffix(b"\n").removesuffix(b"\r").removeprefix(_UTF_8)
        if line:
            yield number, line

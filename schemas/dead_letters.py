"""The headers of a dead letter: those of the worker and of `labelwatch bridge` are alike, and read by one command."""

_DETAIL_BYTES = 1000


def dead_letter_headers(
    reason: str, detail: str, topic: str, partition: int, offset: int, rejected_at_ms: int
) -> list[tuple[str, bytes]]:
    """Why a record cannot be used, and where it was.

    Args:
        reason: A few words, by which letters are counted.
        detail: A sentence.
        topic: Where the record was.
        partition: Its partition there.
        offset: Its offset there.
        rejected_at_ms: When it was rejected, epoch ms.
    """
    return [
        ("reason", reason.encode()),
        ("detail", detail.encode(errors="replace")[:_DETAIL_BYTES]),
        ("origin-topic", topic.encode()),
        ("origin-partition", b"%d" % partition),
        ("origin-offset", b"%d" % offset),
        ("rejected-at", b"%d" % rejected_at_ms),
    ]

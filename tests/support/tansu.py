"""The embedded broker for quick tests: the one the product ships, so that tests find out what users would."""

from collections.abc import Iterator

import pytest

from streams.ops.embedded import EmbeddedBroker as Tansu

__all__ = ["Tansu", "tansu"]


@pytest.fixture
def tansu() -> Iterator[Tansu]:
    """An empty broker for one test; it starts in milliseconds and has no transactions."""
    with Tansu() as broker:
        yield broker

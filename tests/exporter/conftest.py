"""A metrics server with one site and one person behind it."""

from collections.abc import Iterator

import pytest

from streams.exporter import MetricsServer, MonitorState
from streams.exporter.pseudonyms import plain
from tests.support.exporter import showing
from tests.support.serving import engine


@pytest.fixture
def state() -> MonitorState:
    return showing(engine())


@pytest.fixture
def server(state: MonitorState) -> Iterator[MetricsServer]:
    with MetricsServer(state, plain, port=0) as server:
        yield server

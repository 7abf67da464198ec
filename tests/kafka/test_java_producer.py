"""docs/guide/producer.md: its Java producer as it is, on real Kafka: events that a worker takes, in our partitions."""

import re
import subprocess
from pathlib import Path

import pytest

from schemas.events import LabelSubmitted
from schemas.topics import EVENTS
from streams.engine.decode import decode
from streams.sources.sinks import partition_of
from tests.kafka.conftest import FreshTopics, read_all
from tests.support.kafka import LIGHT_JAVA, RealKafka, jars

pytestmark = [pytest.mark.kafka, pytest.mark.timeout(300)]

PAGE = (Path(__file__).parents[2] / "docs/guide/producer.md").read_text("utf-8")
SITES = ("manila-1", "lima-2", "上海-2", "köln-1", "nairobi-5", "s")
PARTITIONS = 5


def test_the_pages_java_producer_agrees_with_ours_on_each_sites_partition(
    broker: RealKafka, fresh_topics: FreshTopics, tmp_path: Path
) -> None:
    fresh_topics(PARTITIONS)
    (snippet,) = re.findall(r"^```java\n(.*?)^```", PAGE, re.MULTILINE | re.DOTALL)
    call = 'send(producer, "manila-1");'
    assert call in snippet
    assert "localhost:9092" in snippet
    calls = " ".join(call.replace("manila-1", site) for site in SITES)
    program = tmp_path / "LabelProducer.java"
    program.write_text(snippet.replace("localhost:9092", broker.bootstrap).replace(call, calls), "utf-8")
    # The source's encoding is the machine's in older versions of Java.
    command = ["java", *LIGHT_JAVA, "-Dfile.encoding=UTF-8", "-cp", f"{jars()}/*", str(program)]
    ended = subprocess.run(command, capture_output=True, text=True, timeout=120, check=False)
    assert ended.returncode == 0, ended.stderr
    records = read_all(broker.bootstrap, EVENTS, PARTITIONS)
    events = decode([record.value() for record in records])
    assert sorted(event.site_id for event in events if isinstance(event, LabelSubmitted)) == sorted(SITES)
    for record, event in zip(records, events, strict=True):
        assert record.key().decode() == event.site_id
        assert record.partition() == partition_of(record.key(), PARTITIONS)
    assert len({record.partition() for record in records}) > 1, "or this shows nothing"

"""docs/guide/producer.md: its snippets as they are write events that a worker takes, a site to one partition."""

import re
from pathlib import Path

from schemas.events import LabelReviewed, LabelSubmitted
from streams.engine.decode import decode
from streams.ops.topics import create
from streams.runtime.settings import Settings
from streams.sources.sinks import partition_of
from tests.support.consume import read_all
from tests.support.tansu import Tansu

PAGE = (Path(__file__).parents[2] / "docs/guide/producer.md").read_text("utf-8")
SITES = ("manila-1", "lima-2", "上海-2", "köln-1", "nairobi-5", "s")
PARTITIONS = 3


def test_the_pages_producers_agree_with_ours_on_each_sites_partition(tansu: Tansu) -> None:
    list(create(Settings.resolve(environ={}, bootstrap=tansu.bootstrap), PARTITIONS))
    snippets = re.findall(r"^```python\n(.*?)^```", PAGE, re.MULTILINE | re.DOTALL)
    assert len(snippets) == 2
    for snippet in snippets:
        for site in SITES:
            changed = snippet.replace("localhost:9092", tansu.bootstrap).replace("manila-1", site)
            exec(compile(changed, "producer.md", "exec"), {})
    records = read_all(tansu.bootstrap, PARTITIONS, len(SITES) * len(snippets))
    found = [(number, record) for number, each in records.items() for record in each]
    assert len({number for number, _ in found}) > 1, "or this shows nothing"
    for number, record in found:
        assert number == partition_of(record.key, PARTITIONS)
    events = decode([record.value for _, record in found])
    assert sorted(type(event).__name__ for event in events) == sorted(
        [LabelSubmitted.__name__, LabelReviewed.__name__] * len(SITES)
    )
    assert all(record.key.decode() == event.site_id for (_, record), event in zip(found, events, strict=True))

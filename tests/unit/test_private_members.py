"""Private members of aiokafka and Faust that are used: each with its reason, and there in the installed versions."""

import ast
import importlib
import inspect
import re
import tomllib
from collections.abc import Iterator
from importlib.metadata import version
from pathlib import Path
from typing import NamedTuple

import pytest

ROOT = Path(__file__).parents[2]
SOURCES = sorted((ROOT / "streams").rglob("*.py"))
THEIRS = ("aiokafka", "faust", "mode")
#: Private by their name alone: of os and of named tuples.
PUBLIC = {"_exit", "_replace"}


class Use(NamedTuple):
    """One private member: whose it is, and why nothing public does."""

    owners: tuple[str, ...]
    reason: str


_CONSUMER = "aiokafka.consumer.consumer.AIOKafkaConsumer"
_FETCHER = "aiokafka.consumer.fetcher.Fetcher"
_RESULT = "aiokafka.consumer.fetcher.FetchResult"
_PARSED = "aiokafka.consumer.fetcher.PartitionRecords"
_GROUP = "aiokafka.consumer.group_coordinator.GroupCoordinator"
_BATCH = "aiokafka.producer.message_accumulator.BatchBuilder"
_THREAD = "faust.transport.drivers.aiokafka.AIOKafkaConsumerThread"
_FAUST_CONSUMER = "faust.transport.drivers.aiokafka.Consumer"
_APP = "faust.app.base.App"

TABLE = {
    # A fetched batch whole: aiokafka hands over single records.
    "_fetcher": Use((_CONSUMER,), "its answers hold whole batches, which the consumer takes apart"),
    "_records": Use((_FETCHER, _PARSED), "answers by partition, and in each the batches that are not parsed yet"),
    "_partition_records": Use((_RESULT,), "the answer of a partition, with its batches"),
    "_topic_partition": Use((_RESULT,), "whose answer it is, to ask whether it is still ours"),
    "_update_position": Use((_RESULT,), "tells aiokafka where the next fetch begins"),
    "_records_iterator": Use((_PARSED,), "holds the answer in a circle until the collector comes"),
    "_create_fetch_waiter": Use((_FETCHER,), "waits for the next answer without taking records"),
    "_subscriptions": Use((_FETCHER,), "its fetch context, without which aiokafka counts the consumer as idle"),
    "_subscription": Use((_CONSUMER,), "positions, which the public call waits for"),
    "_closed": Use((_CONSUMER, _FETCHER), "ends the wait for answers when the consumer is closed"),
    # Records of a transaction that was rolled back, taken out of whole batches as aiokafka takes out single records.
    "_aborted_transactions": Use((_PARSED,), "where each rolled back transaction of an answer begins"),
    "_aborted_producers": Use((_PARSED,), "whose records do not count at the place that is read"),
    "_consume_aborted_up_to": Use((_PARSED,), "notes the producers whose records do not count from there on"),
    "_contains_abort_marker": Use((_PARSED,), "tells the end of a rolled back transaction"),
    "_isolation_level": Use((_FETCHER,), "asks both ends of a log, and reads an open transaction, by one consumer"),
    # Membership: aiokafka keeps to itself when it was last confirmed, and what ended it.
    "_coordinator": Use((_CONSUMER,), "heartbeats and errors of the group"),
    "_do_heartbeat": Use((_GROUP,), "proves membership, and says when it was last confirmed"),
    "_closing": Use((_GROUP,), "tells an end that was wished from one that was not"),
    "_coordination_task": Use((_GROUP,), "its end is the end of the membership, which nobody tells"),
    "_group_instance_id": Use((_GROUP,), "a static member does not leave"),
    "_client": Use((_CONSUMER,), "leaves the group without waiting for the join that is under way"),
    # Batches of state, compressed in a thread.
    "_build": Use((_BATCH,), "a batch's bytes; aiokafka compresses on the event loop"),
    "_set_producer_state": Use((_BATCH,), "fills the producer's numbers into the head of a finished batch"),
    # Faust's places where its parts are made.
    "_create_worker_consumer": Use((_THREAD,), "the consumer with our settings"),
    "_ensure_consumer": Use((_THREAD,), "the consumer of the thread"),
    "_new_consumer_thread": Use((_FAUST_CONSUMER,), "the thread with our calls"),
    "_thread": Use((_FAUST_CONSUMER,), "the same"),
    "_get_active_partitions": Use((_FAUST_CONSUMER,), "what the group gave this worker"),
    "_read_offset": Use((_FAUST_CONSUMER,), "Faust drops what it has read before; here batches come again on purpose"),
    "_new_transport": Use((_APP,), "the transport with our consumer"),
    "_create_directories": Use((_APP,), "without tables Faust keeps nothing on disk"),
}


def of_theirs(tree: ast.Module) -> set[str]:
    """Names that a module has from these libraries."""
    found: set[str] = set()
    for node in ast.walk(tree):
        if isinstance(node, ast.ImportFrom) and (node.module or "").split(".")[0] in THEIRS:
            found |= {each.asname or each.name for each in node.names}
        elif isinstance(node, ast.Import):
            found |= {each.asname or each.name for each in node.names if each.name.split(".")[0] in THEIRS}
    return found


def is_private(name: str) -> bool:
    return name.startswith("_") and not name.startswith("__") and name not in PUBLIC


def own_names(tree: ast.Module) -> set[str]:
    """Private members that the module's own classes make: functions, and what they assign to themselves."""
    own = {
        target.attr
        for node in ast.walk(tree)
        if isinstance(node, ast.Assign | ast.AnnAssign)
        for target in (node.targets if isinstance(node, ast.Assign) else [node.target])
        if isinstance(target, ast.Attribute) and ast.unparse(target.value) == "self"
    }
    return own | {
        each.name
        for node in ast.walk(tree)
        if isinstance(node, ast.ClassDef)
        for each in node.body
        if isinstance(each, ast.FunctionDef | ast.AsyncFunctionDef)
    }


def foreign_members(dotted: str) -> set[str]:
    """Every member of a class of theirs: of the class, and what its code assigns to an object."""
    module, _, name = dotted.rpartition(".")
    cls = getattr(importlib.import_module(module), name)
    found = set(dir(cls))
    for each in cls.__mro__:
        try:
            found |= set(re.findall(r"\bself\.(\w+)", inspect.getsource(each)))
        except (OSError, TypeError):  # built in, or compiled
            continue
    return found


def bases_of_theirs(tree: ast.Module, module: str) -> Iterator[tuple[ast.ClassDef, type]]:
    """Classes of a module that are derived from one of theirs."""
    own = importlib.import_module(module)
    for node in ast.walk(tree):
        if isinstance(node, ast.ClassDef):
            cls = getattr(own, node.name, None)
            for base in getattr(cls, "__mro__", ())[1:]:
                if base.__module__.split(".")[0] in THEIRS:
                    yield node, base
                    break


def used(path: Path) -> set[str]:
    """Private members of theirs that a module uses, overrides or stands in for."""
    tree = ast.parse(path.read_text("utf-8"))
    if not of_theirs(tree):
        return set()
    module = ".".join(path.relative_to(ROOT).with_suffix("").parts)
    own, found = own_names(tree), set()
    for node in ast.walk(tree):
        # Of another object: ours are those that the module makes itself.
        if isinstance(node, ast.Attribute) and is_private(node.attr):
            of_another = ast.unparse(node.value) not in ("self", "cls")
            if of_another and (node.attr not in own or node.attr in TABLE):
                found.add(node.attr)
    for cls, base in bases_of_theirs(tree, module):
        theirs = foreign_members(f"{base.__module__}.{base.__qualname__}")
        mentioned = {each.attr for each in ast.walk(cls) if isinstance(each, ast.Attribute)}
        mentioned |= {each.name for each in ast.walk(cls) if isinstance(each, ast.FunctionDef | ast.AsyncFunctionDef)}
        found |= {name for name in mentioned if is_private(name) and name in theirs}
    if path.name == "packed.py":  # used in place of one of their batches
        found |= {name for name in own if is_private(name) and name in foreign_members(_BATCH)}
    return found


def test_the_table_names_what_is_used_and_nothing_else() -> None:
    where: dict[str, list[str]] = {}
    for path in SOURCES:
        for name in used(path):
            where.setdefault(name, []).append(str(path.relative_to(ROOT)))
    assert {name: where[name] for name in where.keys() - TABLE.keys()} == {}, "say why in TABLE, or use what is public"
    assert TABLE.keys() - where.keys() == set(), "no longer used"


@pytest.mark.parametrize("name", TABLE)
def test_it_is_there_in_the_installed_version(name: str) -> None:
    use = TABLE[name]
    assert use.reason
    for owner in use.owners:
        assert name in foreign_members(owner), f"{owner} has no {name} any more"


def test_a_member_that_is_not_in_the_table_is_found(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (tmp_path / "sneaky.py").write_text("import aiokafka\n\ndef peek(consumer):\n    return consumer._hidden\n")
    monkeypatch.syspath_prepend(tmp_path)
    monkeypatch.setitem(globals(), "ROOT", tmp_path)
    assert used(tmp_path / "sneaky.py") == {"_hidden"}


def test_both_are_pinned_to_the_version_that_is_installed_and_tested() -> None:
    project = tomllib.loads((ROOT / "pyproject.toml").read_text("utf-8"))["project"]
    constraints = (ROOT / "constraints.txt").read_text("utf-8").splitlines()
    for name in ("aiokafka", "faust-streaming"):
        exact = f"{name}=={version(name)}"
        assert exact in project["dependencies"]
        assert exact in constraints

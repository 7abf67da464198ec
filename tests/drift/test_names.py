"""Names and combinations keep their numbers through restarts; beyond a bound everything is `other`."""

import numpy as np

from streams.engine.drift.names import NONE, OTHER, Combinations, Names


def saved(table: Names | Combinations, slots: dict[bytes, bytes]) -> dict[bytes, bytes]:
    for key, value in table.slots():
        assert value is not None
        slots[key] = value
    return slots


def test_names_keep_their_numbers() -> None:
    names = Names(b"n", 2_000)
    slots: dict[bytes, bytes] = {}
    given = [f"name-{number}" for number in range(1_300)]
    numbers = [names.number(name) for name in given[:700]]
    saved(names, slots)
    numbers += [names.number(name) for name in given[700:]]
    saved(names, slots)
    assert not list(names.slots()), "what has not grown is not written"
    again = Names(b"n", 2_000)
    again.restore(slots)
    assert [again.number(name) for name in given] == numbers == [again.find(name) for name in given]
    assert [again[number] for number in numbers] == given
    assert len(set(numbers)) == len(given)


def test_no_name_and_names_beyond_the_bound() -> None:
    names = Names(b"n", 4)
    assert names.number(None) == names.number("") == names.find("") == NONE
    assert names.find("a") == OTHER
    kept = [names.number("other"), names.number("b")]
    assert len({*kept, OTHER, NONE}) == 4, "a thing of that name is not what is beyond the bound"
    assert names.number("c") == names.find("c") == OTHER
    assert names[OTHER] == "other"


def test_combinations_tell_the_names_that_they_are_of() -> None:
    def make() -> tuple[Combinations, dict[str, Names]]:
        names = {by: Names(by.encode(), 100) for by in ("project", "market")}
        return Combinations(b"kind", 5, names), names

    kinds, names = make()
    given = [("p", "US"), ("p", None), ("q", "US"), ("p", "US")]
    numbers = [kinds.number(*each) for each in given]
    assert numbers[0] == numbers[3]
    assert len(set(numbers)) == 3
    slots = saved(kinds, {})
    for table in names.values():
        saved(table, slots)
    again, known = make()
    tables: list[Names | Combinations] = [again, *known.values()]
    for each in tables:
        each.restore(slots)
    columns = again.columns(np.array(numbers))
    told = [(known["project"][p], known["market"][m] or None) for p, m in zip(*columns.values(), strict=True)]
    assert told == given
    assert again.numbers([columns["project"], columns["market"]]).tolist() == numbers
    # One more fits beside that for all the others.
    assert again.number("q", None) not in (*numbers, OTHER)
    beyond = np.array([again.number("r", "US")])
    assert {by: column.tolist() for by, column in again.columns(beyond).items()} == {
        "project": [OTHER],
        "market": [OTHER],
    }

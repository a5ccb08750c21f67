"""What is remembered: the newest, within a bound."""

from __future__ import annotations

from hypothesis import given, settings
from hypothesis import strategies as st

from archiver.history.span.known_values import KnownValues

STEPS = st.lists(
    st.tuples(st.sampled_from(["put", "drop", "forget"]), st.integers(0, 2), st.integers(0, 3), st.integers(0, 500)), max_size=60
)


@given(STEPS, st.sampled_from([0, 1000, 3000, 1 << 20]))
@settings(max_examples=150, deadline=None)
def test_what_is_known_is_true_and_what_is_lost_is_told(steps: list[tuple[str, int, int, int]], most_bytes: int) -> None:
    """Beside a dict without a bound: a value is the newest one or not known, and not known only if ``full`` says so."""
    known: KnownValues[int] = KnownValues(most_bytes)
    truth: dict[tuple[int, int], int] = {}
    for what, group, key, size in steps:
        if what == "put":
            known.put(group, key, size, size)
            truth[group, key] = size
        elif what == "drop":
            known.drop(group, key)
            truth.pop((group, key), None)
        else:
            known.forget(group)
            truth = {place: value for place, value in truth.items() if place[0] != group}
        assert known.room >= 0
        for group_ in range(3):
            found = {key_: known.get(group_, key_) for key_ in range(4)}
            assert {key_: value for key_, value in found.items() if value is not None} == dict(known.items(group_))
            for key_, value in found.items():
                assert value == truth.get((group_, key_)) or (value is None and known.full)


def test_the_oldest_goes_first() -> None:
    """And what was forgotten goes without a word: nobody knew it any more."""
    known: KnownValues[str] = KnownValues(1000)
    known.put("t", 1, "a", 100)
    known.put("t", 2, "b", 100)
    known.put("t", 3, "c", 100)
    assert (known.get("t", 1), known.get("t", 2), known.get("t", 3), known.full) == (None, "b", "c", True)
    other: KnownValues[str] = KnownValues(1000)
    other.put("t", 1, "a", 100)
    other.forget("t")
    other.put("t", 2, "b", 100)
    other.put("t", 3, "c", 100)
    assert (other.get("t", 2), other.get("t", 3), other.full) == ("b", "c", False)

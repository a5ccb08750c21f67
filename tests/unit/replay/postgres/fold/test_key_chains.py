"""Chains of events by key mean what following each event back by hand means."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import pyarrow as pa
from hypothesis import given
from hypothesis import strategies as st

from archiver.replay.postgres.fold.key_chains import ELSEWHERE, GONE, NONE, PARTIAL, WHOLE, Chains, Events


@dataclass(frozen=True)
class Said:
    """One event, by hand."""

    key: bytes
    kind: int
    expects: bool
    link: int
    knows: bool


@st.composite
def lives(draw: st.DrawFn) -> list[Said]:
    """Events of four keys, links of PARTIAL ones to a GONE one before them or to somewhere else."""
    said: list[Said] = []
    for _ in range(draw(st.integers(1, 24))):
        kind = draw(st.sampled_from([WHOLE, PARTIAL, GONE]))
        gone = [place for place, each in enumerate(said) if each.kind == GONE]
        link = draw(st.sampled_from([NONE, ELSEWHERE, *gone])) if kind == PARTIAL else NONE
        said.append(Said(draw(st.sampled_from([b"", b"a", b"b", b"c"])), kind, draw(st.booleans()), link, draw(st.booleans())))
    return said


def chains_of(said: list[Said]) -> Chains:
    return Chains(
        Events(
            keys=pa.array([each.key for each in said], pa.large_binary()),
            kinds=np.array([each.kind for each in said], np.uint8),
            expects=np.array([each.expects for each in said], np.bool_),
            link=np.array([each.link for each in said], np.int64),
        )
    )


def earlier(said: list[Said], place: int) -> int:
    """The event before it on its own key; NONE for the first."""
    return next((before for before in range(place - 1, -1, -1) if said[before].key == said[place].key), NONE)


def before(said: list[Said], place: int) -> int:
    """The event whose values it continues; NONE where it continues nothing that is among them."""
    each = said[place]
    if each.kind == WHOLE or each.link == ELSEWHERE:
        return NONE
    return each.link if each.link >= 0 else earlier(said, place)


def path(said: list[Said], place: int) -> list[int]:
    """The event and all that it continues, newest first."""
    found = [place]
    while (place := before(said, place)) != NONE:
        found.append(place)
    return found


def start(said: list[Said], place: int) -> int:
    """The first event of its chain: of its own key."""
    while said[place].kind != WHOLE and said[place].link == NONE and (back := earlier(said, place)) != NONE:
        place = back
    return place


@given(lives())
def test_the_last_event_of_each_key_is_final(said: list[Said]) -> None:
    """Beside what the first one expects, in any order of the keys."""
    of_key = [[place for place, each in enumerate(said) if each.key == key] for key in {each.key for each in said}]
    chains = chains_of(said)
    found = zip(chains.final.tolist(), chains.expects.tolist(), strict=True)
    assert sorted(found) == sorted((places[-1], said[places[0]].expects) for places in of_key)


@given(lives())
def test_an_event_that_says_otherwise_is_a_contradiction(said: list[Said]) -> None:
    """About the row before it, than the event before it left it."""
    pairs = [(said[back], each) for place, each in enumerate(said) if (back := earlier(said, place)) != NONE]
    assert chains_of(said).contradictions == sum(each.expects != (back.kind != GONE) for back, each in pairs)


@given(lives())
def test_a_value_comes_from_the_nearest_event_that_knows_it(said: list[Said]) -> None:
    """Going back along the row's life, over changes of its key."""
    knows = np.array([each.knows for each in said], np.bool_)
    expected = [next((each for each in path(said, place) if said[each].knows), NONE) for place in range(len(said))]
    assert chains_of(said).resolve(np.arange(len(said)), knows).tolist() == expected


@given(lives())
def test_a_root_is_the_first_event_of_the_row(said: list[Said]) -> None:
    """What no event knows, the row before that one knows."""
    assert chains_of(said).roots(np.arange(len(said))).tolist() == [path(said, place)[-1] for place in range(len(said))]


@given(lives(), st.data())
def test_members_are_all_events_of_the_chains_on_the_way(said: list[Said], data: st.DataObject) -> None:
    """Also those behind the asked event: a chain is taken whole."""
    asked = data.draw(st.lists(st.sampled_from(range(len(said))), min_size=1, unique=True))
    wanted: set[int] = set()
    waiting = [start(said, place) for place in asked]
    while waiting:
        begin = waiting.pop()
        if begin not in wanted:
            wanted.add(begin)
            waiting += [start(said, said[begin].link)] if said[begin].link >= 0 else []
    expected = [start(said, place) in wanted for place in range(len(said))]
    assert chains_of(said).members(np.array(asked, np.int64)).tolist() == expected

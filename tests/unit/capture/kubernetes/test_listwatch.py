"""The state machine of list and watch."""

from __future__ import annotations

import pytest

from archiver.capture.kubernetes.failures import Failure, failure_of
from archiver.capture.kubernetes.listwatch import Backoff, ListWatch, Step

EXPIRED = Failure("expired", "410")
AHEAD = Failure("ahead", "504", 1.0)
BROKEN = Failure("unavailable", "reset")


def watching(position: str = "100") -> ListWatch:
    machine = ListWatch(position=position, epoch=3, resumable=True)
    machine.probed(None, 0, 0)
    machine.compared(None, same=True, now=0, chance=0)
    assert machine.step is Step.WATCH
    return machine


def test_nothing_known_begins_with_a_list() -> None:
    """Without a complete list there is nothing to resume, even where a position is known."""
    for machine in (ListWatch(position="", epoch=0, resumable=False), ListWatch(position="7", epoch=0, resumable=False)):
        assert machine.step is Step.LIST
        assert machine.list_began("9") == "start"
        machine.listed("9")
        assert (machine.step, machine.position, machine.epoch) == (Step.WATCH, "9", 0)


def test_no_watch_without_a_probe() -> None:
    """A resumed position and every end of a watch lead to a probe before the next watch."""
    machine = ListWatch(position="100", epoch=3, resumable=True)
    assert machine.step is Step.PROBE
    machine.probed(None, 0, 0)
    assert machine.watch_cause == "resume"
    for failure in (None, BROKEN, Failure("throttled", "429", 2.0), Failure("denied", "403"), Failure("missing", "404")):
        machine = watching()
        machine.watch_ended(failure, 300, heard=True, early=False, now=0, chance=0)
        assert machine.step is Step.PROBE


def test_a_position_ahead_of_the_server_is_confirmed_before_it_is_believed() -> None:
    """504 may be a server that lags; only a consistent list that is older opens a new epoch."""
    machine = ListWatch(position="100", epoch=3, resumable=True)
    machine.probed(AHEAD, 0, 0)
    assert machine.step is Step.CONFIRM
    machine.confirmed("101", "100", 0, 0)
    assert (machine.step, machine.epoch) == (Step.PROBE, 3)
    machine.probed(AHEAD, 0, 0)
    machine.confirmed("99", "100", 0, 0)
    assert (machine.step, machine.cause, machine.rewound) == (Step.LIST, "cluster_changed", True)
    assert machine.list_began("99") == "cluster_changed"
    machine.listed("99")
    assert (machine.step, machine.position, machine.epoch) == (Step.WATCH, "99", 4)


def test_a_past_that_is_overtaken_is_compared() -> None:
    """One 504 and the version is passed: what the server held at exactly the position decides, before any watch goes on from there. So at a
    start, and after a watch that broke or ended early; not after one that ended in its time.
    """
    for failure, early, follows in ((BROKEN, False, Step.COMPARE), (None, True, Step.COMPARE), (None, False, Step.WATCH)):
        machine = watching()
        machine.watch_ended(failure, 9, heard=True, early=early, now=0, chance=0)
        machine.probed(None, 0, 0)
        assert machine.step is follows
    machine = watching()
    machine.watch_ended(None, 300, heard=True, early=False, now=0, chance=0)
    machine.probed(AHEAD, 0, 0)
    machine.confirmed("101", "100", 0, 0)
    machine.probed(None, 0, 0)
    assert machine.step is Step.COMPARE
    machine.compared(None, same=False, now=0, chance=0)
    assert (machine.step, machine.rewound) == (Step.LIST, True)
    assert (machine.list_began("150"), machine.epoch) == ("cluster_changed", 4)


def test_what_cannot_be_compared_is_verified() -> None:
    """Where the server has forgotten that place, or cannot list it, a verifying list tells; a server that is away is asked again."""
    machine = ListWatch(position="100", epoch=3, resumable=True)
    machine.probed(None, 0, 0)
    machine.compared(EXPIRED, same=False, now=0, chance=0)
    assert (machine.step, machine.cause) == (Step.LIST, "verify")
    machine.list_began("150")
    machine.listed("150")
    assert (machine.step, machine.position, machine.watch_cause) == (Step.WATCH, "100", "resume")
    machine = ListWatch(position="100", epoch=3, resumable=True)
    steps = []
    for failure in (Failure("throttled", "429", 2.0), BROKEN, BROKEN):
        machine.probed(None, 0, 0)
        machine.compared(failure, same=False, now=0, chance=0)
        steps.append(machine.step)
    assert steps == [Step.PROBE, Step.PROBE, Step.LIST]


def test_a_rewind_that_another_stream_found_lists_anew() -> None:
    """In a new epoch, and without finding it once more."""
    machine = watching()
    machine.replaced()
    assert (machine.list_began("50"), machine.epoch, machine.rewound) == ("cluster_changed", 4, False)


def test_a_list_older_than_the_position_is_a_new_epoch_once() -> None:
    """Whatever the list was for: when it is older than the position, the epoch is new; a repeated attempt does not count again."""
    machine = watching()
    machine.watch_ended(EXPIRED, 1, heard=False, early=False, now=0, chance=0)
    assert machine.list_began("50") == "cluster_changed"
    machine.list_failed(BROKEN, 0, 0)
    assert machine.list_began("51") == "cluster_changed"
    assert machine.epoch == 4


def test_a_replaced_cluster_lists_in_a_new_epoch() -> None:
    """Where the cluster is known to be another one, its resourceVersions are not compared."""
    machine = ListWatch(position="100", epoch=3, resumable=True, replaced=True)
    assert machine.step is Step.LIST
    assert machine.list_began("2000") == "cluster_changed"
    assert machine.epoch == 4


def test_expired_lists_at_once() -> None:
    """410 costs no pause."""
    machine = watching()
    machine.watch_ended(EXPIRED, 1, heard=False, early=False, now=0, chance=0)
    assert (machine.step, machine.pause, machine.cause) == (Step.LIST, 0.0, "expired")


def test_what_expires_again_and_again_is_listed_ever_more_slowly() -> None:
    """A list whose own version is expired at once is no progress; a word of the watch is, and so is one that stayed open."""
    machine, pauses = watching(), []
    for _ in range(8):
        machine.watch_ended(EXPIRED, 0.1, heard=False, early=False, now=0, chance=0)
        pauses.append(machine.pause)
        machine.list_began("100")
        machine.listed("100")
    assert pauses[:3] == [0.0, 0.8, 1.6]
    assert pauses[-1] == 30.0
    machine.heard("101")
    machine.watch_ended(EXPIRED, 0.1, heard=True, early=False, now=0, chance=0)
    assert machine.pause == 0.0
    machine.listed("102")
    machine.watch_ended(EXPIRED, 60, heard=False, early=False, now=0, chance=0)
    assert machine.pause == 0.0


def test_a_verifying_list_keeps_the_watch_where_it_was() -> None:
    """The watch goes on from before the list, so that nothing in between is missing from history."""
    machine = watching()
    machine.verify()
    assert machine.list_began("150") == "verify"
    machine.listed("150")
    assert (machine.step, machine.position) == (Step.WATCH, "100")


def test_a_verifying_list_that_fails_lets_the_watch_go_on() -> None:
    """Verifying can wait; the watch cannot."""
    machine = watching()
    machine.verify()
    machine.list_failed(BROKEN, 0, 0)
    assert (machine.step, machine.position) == (Step.PROBE, "100")


def test_a_watch_that_ends_at_once_is_not_opened_in_a_tight_loop() -> None:
    """A short silent watch pauses, and ever longer; one that said something does not."""
    machine = watching()
    pauses = []
    for _ in range(4):
        machine.watch_ended(None, 0.1, heard=False, early=False, now=0, chance=0)
        pauses.append(machine.pause)
        machine.probed(None, 0, 0)
    assert pauses == [0.8, 1.6, 3.2, 6.4]
    machine.watch_ended(None, 0.1, heard=True, early=False, now=0, chance=0)
    assert machine.pause == 0


def test_errors_that_go_on_end_in_a_list() -> None:
    """A server that keeps failing the watch is listed at last."""
    machine = watching()
    for _ in range(7):
        machine.watch_ended(BROKEN, 1, heard=False, early=False, now=0, chance=0)
        assert machine.step is Step.PROBE
        machine.probed(None, 0, 0)
    machine.watch_ended(BROKEN, 1, heard=False, early=False, now=0, chance=0)
    assert (machine.step, machine.cause) == (Step.LIST, "error")


def test_throttling_waits_as_long_as_the_server_says() -> None:
    """Retry-After is honoured and the position kept."""
    machine = watching()
    machine.watch_ended(Failure("throttled", "429", 7.0), 0, heard=False, early=False, now=0, chance=0.9)
    assert (machine.step, machine.pause, machine.position) == (Step.PROBE, 7.0, "100")
    machine = ListWatch(position="", epoch=0, resumable=False)
    machine.list_failed(Failure("throttled", "429", 3.0), 0, 0.9)
    assert (machine.step, machine.pause) == (Step.LIST, 3.0)


def test_backoff_doubles_to_its_limit_and_starts_again_when_healthy() -> None:
    """0.8 s to 30 s with up to as much again; two healthy minutes forget it all."""
    backoff = Backoff()
    assert [backoff.pause(0, 0) for _ in range(8)] == [0.8, 1.6, 3.2, 6.4, 12.8, 25.6, 30.0, 30.0]
    assert backoff.pause(0, 0.5) == 45.0
    assert backoff.pause(45.0 + 119, 0) == 30.0
    assert backoff.pause(45.0 + 119 + 30 + 121, 0) == 0.8


@pytest.mark.parametrize(
    ("code", "body", "kind"),
    [
        (410, b"", "expired"),
        (0, b'{"kind":"Status","code":410,"reason":"Expired"}', "expired"),
        (0, b'{"kind":"Status","code":410,"reason":"Gone"}', "expired"),
        (
            504,
            b'{"code":504,"reason":"Timeout","details":{"causes":[{"reason":"ResourceVersionTooLarge"}],"retryAfterSeconds":1}}',
            "ahead",
        ),
        (504, b'{"code":504,"reason":"Timeout","message":"Timeout: Too large resource version: 9, current: 7"}', "ahead"),
        (500, b'{"code":500,"message":"etcdserver: mvcc: required revision is a future revision"}', "ahead"),
        (504, b'{"code":504,"reason":"Timeout"}', "unavailable"),
        (429, b'{"code":429,"reason":"TooManyRequests","message":"storage is (re)initializing"}', "throttled"),
        (401, b"", "denied"),
        (403, b'{"code":403,"reason":"Forbidden"}', "denied"),
        (404, b"404 page not found", "missing"),
        (500, b"<html>", "unavailable"),
        (0, b'{"kind":"Status","code":500,"reason":null,"details":null}', "unavailable"),
    ],
)
def test_failures_are_told_apart(code: int, body: bytes, kind: str) -> None:
    """Status and in-stream forms of the same failure mean the same; a Status without reason, or no Status, is met too."""
    assert failure_of(code, body).kind == kind

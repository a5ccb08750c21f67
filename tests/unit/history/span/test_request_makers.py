"""Who made a change, by requests that were logged: certain, or not said."""

from __future__ import annotations

from typing import Any

import msgspec
import pytest

from archiver.history.span.bounds import Mark, Told
from archiver.history.span.changes import Change
from archiver.history.span.request_makers import RequestMakers
from archiver.kubernetes.audit_events import Request

SECOND = 1_000_000
BORN = 100 * SECOND


def told(operation: str, *, created: int = BORN, deleting: int = 0, written: int = 0, seen: int = 0, **more: Any) -> Told:
    at = {"uid": "u", "resource_version": "7", "kind": "runs.g.io", **more}
    change = Change(1, 1, 200 * SECOND, "k", operation, namespace="n", name="a", **at)
    return Told(Mark(1, 1, change.time), change, created=created, deleting=deleting, written=written, seen=seen)


def request(user: str, at: float, does: str = "delete", **more: Any) -> Request:
    base = {"creates": False, "certain": True, "resource": "runs.g.io", "namespace": "n", "name": "a", "uid": "", "version": ""}
    moment = int(at * SECOND)
    return msgspec.convert({"does": does, "user": user, "received": moment, "done": moment + 10, **base, **more}, Request)


def write(user: str, at: float, **more: Any) -> Request:
    return request(user, at, "write", **more)


MADE = {"uid": "u", "version": "7"}


@pytest.mark.parametrize(
    ("change", "requests", "user"),
    [
        # A deletion, by name alone.
        (told("deleted"), [request("alice", 199)], "alice"),
        (told("deleted"), [request("alice", 199), request("alice", 150)], "alice"),
        (told("deleted"), [request("alice", 199), request("bob", 150)], ""),
        (told("deleted"), [request("alice", 199), request("bob", 99.5)], "alice"),
        (told("deleted"), [request("alice", 199), request("bob", 150, uid="another")], "alice"),
        (told("deleted"), [request("alice", 199, name="b")], ""),
        (told("deleted"), [request("alice", 199, namespace="m")], ""),
        (told("deleted"), [request("alice", 199, name="")], "alice"),
        (told("deleted"), [request("alice", 199), request("bob", 150, name="")], ""),
        (told("deleted"), [request("alice", 199), request("bob", 150, certain=False)], ""),
        (told("deleted"), [request("alice", 199), request("root", 150, resource="customresourcedefinitions.apiextensions.k8s.io", namespace="", name="runs.g.io")], ""),
        (told("deleted"), [request("alice", 190), write("bob", 195, creates=True), request("bob", 199)], "alice"),
        (told("deleted"), [request("alice", 190), write("bob", 195, creates=True, certain=False), request("bob", 199)], ""),
        (told("deleted"), [request("alice", 600)], ""),
        # None that was answered before it was written last, if that was received long ago, too.
        (told("deleted", written=160 * SECOND, seen=461 * SECOND), [request("alice", 199), request("bob", 159.9)], "alice"),
        (told("deleted", written=160 * SECOND, seen=461 * SECOND), [request("bob", 159.9)], ""),
        (told("deleted", written=160 * SECOND, seen=461 * SECOND), [request("alice", 199), request("bob", 160.1)], ""),
        (told("deleted", written=160 * SECOND), [request("alice", 199), request("bob", 150)], ""),
        (told("deleted", written=160 * SECOND, seen=180 * SECOND), [request("alice", 199), request("bob", 150)], ""),
        (told("deleted", written=900 * SECOND, seen=450 * SECOND), [request("alice", 199), request("bob", 150.1)], ""),
        # Of the core group; what the API server lets end.
        (told("deleted", kind="pods."), [request("alice", 199, resource="pods")], "alice"),
        (told("added", kind="pods."), [write("alice", 100.3, creates=True, resource="pods")], "alice"),
        (told("deleted", kind="events."), [request("alice", 199, resource="events")], ""),
        (told("absent", kind="events.events.k8s.io"), [request("alice", 199, resource="events.events.k8s.io")], ""),
        (told("deleted", created=0), [request("alice", 199)], ""),
        (told("absent", happened_until=150 * SECOND), [request("alice", 140)], "alice"),
        # One that waited for finalizers: who asked for it.
        (told("deleted", deleting=150 * SECOND), [request("alice", 150.4), request("bob", 180)], "alice"),
        (told("deleted", deleting=150 * SECOND), [request("alice", 150.4), request("bob", 150.9)], ""),
        # A creation.
        (told("added"), [write("alice", 100.3, creates=True)], "alice"),
        (told("added"), [write("alice", 100.3)], ""),
        (told("added"), [write("alice", 101, creates=True)], ""),
        (told("added"), [write("alice", 100.3, creates=True), write("bob", 100.8, creates=True)], ""),
        (told("added"), [write("alice", 100.3, creates=True), write("bob", 100.8, creates=True, uid="another")], "alice"),
        (told("added"), [write("alice", 100.3, creates=True), write("bob", 100.4, creates=True, name="")], ""),
        (told("added"), [write("alice", 100.3, creates=True), write("bob", 100.9, **MADE)], "alice"),
        # An update, by its answer alone.
        (told("modified"), [write("alice", 150, **MADE)], "alice"),
        (told("modified"), [write("alice", 150)], ""),
        (told("modified"), [write("alice", 150, uid="u", version="8")], ""),
        (told("modified"), [write("alice", 150, **MADE), write("bob", 151, **MADE)], "alice"),
        (told("modified"), [write("alice", 150, **MADE), write("bob", 150, **MADE)], ""),
        (told("modified"), [write("alice", 150, **MADE), write("bob", 149)], ""),
        (told("modified"), [write("alice", 150, **MADE), write("bob", 151)], "alice"),
        # What a list found stands for many changes.
        (told("listed"), [write("alice", 150, **MADE)], ""),
    ],
)  # fmt: skip
def test_a_user_is_named_only_where_nobody_else_can_have_done_it(change: Told, requests: list[Request], user: str) -> None:
    """Every request that can have made the change counts, whatever its level; of several users' none is chosen."""
    found, doubt = RequestMakers(requests).user(change)
    assert found == user
    assert bool(doubt) <= (not user)

"""Lines of an API server's audit log, as it writes them and as a client may shape them."""

from __future__ import annotations

import contextlib
import json
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from archiver.errors import Invalid
from archiver.kubernetes import audit_log
from archiver.kubernetes.audit_events import Request, request_of
from archiver.kubernetes.audit_log import read_requests
from archiver.untrusted import Unreadable

REF = {"resource": "runs", "namespace": "n", "name": "a", "apiGroup": "g.io", "apiVersion": "v1"}


def event(**more: Any) -> dict[str, Any]:
    return {
        "kind": "Event",
        "apiVersion": "audit.k8s.io/v1",
        "level": "Metadata",
        "auditID": "1",
        "stage": "ResponseComplete",
        "requestURI": "/apis/g.io/v1/namespaces/n/runs/a",
        "verb": "delete",
        "user": {"username": "alice", "groups": ["x"]},
        "objectRef": REF,
        "responseStatus": {"metadata": {}, "code": 200},
        "requestReceivedTimestamp": "2026-11-29T10:00:00.000001Z",
        "stageTimestamp": "2026-11-29T10:00:00.000002Z",
        **more,
    }


def parsed(**more: Any) -> Request | None:
    return request_of(json.dumps(event(**more)).encode())


def test_what_a_line_says() -> None:
    """Who, what, when; and of an answer in the log the version that it made."""
    made = parsed()
    assert made is not None
    assert (made.does, made.resource, made.namespace, made.name, made.user, made.certain) == (
        "delete",
        "runs.g.io",
        "n",
        "a",
        "alice",
        True,
    )
    assert made.done - made.received == 1
    answer = {"kind": "Run", "metadata": {"name": "a-x1", "uid": "u", "resourceVersion": "7"}, "spec": {"x": [1]}}
    made = parsed(verb="create", objectRef={**REF, "name": ""}, responseStatus={"code": 201}, responseObject=answer)
    assert made is not None
    assert (made.does, made.creates, made.name, made.uid, made.version) == ("write", True, "a-x1", "u", "7")
    made = parsed(responseObject={"kind": "Status", "metadata": {}, "details": {"name": "a", "uid": "u"}})
    assert made is not None
    assert (made.uid, made.version) == ("u", "")
    made = parsed(impersonatedUser={"username": "bob"})
    assert made is not None
    assert made.user == "bob (impersonated by alice)"


@pytest.mark.parametrize(
    "more",
    [
        {"verb": "get"},
        {"verb": "watch"},
        {"stage": "RequestReceived"},
        {"responseStatus": {"code": 403}},
        {"responseStatus": {"code": 404}},
        {"responseStatus": {"code": 409}},
        {"verb": "patch", "requestURI": "/apis/g.io/v1/namespaces/n/runs/a?dryRun=All"},
        {"objectRef": None},
    ],
)
def test_what_changed_nothing_is_passed_over(more: dict[str, Any]) -> None:
    """Reads, refusals and dry runs."""
    assert parsed(**more) is None


@pytest.mark.parametrize(
    "query",
    [
        "fieldManager=xdryRun=All",
        "fieldManager=dryRun=All",
        "x=1%26dryRun=All",
        "dryRun=",
        "dryRun",
        "dryRun=all",
        "dryRun=All&dryRun=",
        "dryRun=All&dryRun=All",
        "dryRun=All#",
        "dryrun=All",
        "xdryRun=All",
        "a=1;dryRun=All",
        "x=%ff&dryRun=All",
        "&".join(["x=1"] * 2000) + "&dryRun=All",
    ],
)
def test_the_words_of_a_dry_run_hide_nobody(query: str) -> None:
    """Anybody may put them into a URL: only the parameter itself, and nothing else beside it, makes a dry run."""
    where = "/apis/g.io/v1/namespaces/n/runs/a"
    assert parsed(verb="patch", requestURI=f"{where}?{query}") is not None
    assert parsed(verb="patch", requestURI=f"{where}?fieldManager=x&dryRun=All") is None


@pytest.mark.parametrize("verb", ["delete", "deletecollection"])
def test_a_url_makes_no_deletion_a_dry_run(verb: str) -> None:
    """With a body the API server does not look at the URL, and the log need not have the body."""
    assert parsed(verb=verb, requestURI="/apis/g.io/v1/namespaces/n/runs/a?dryRun=All") is not None


def test_an_eviction_deletes_and_a_proxy_does_not() -> None:
    """Who evicts a pod deletes it. A DELETE that goes through a pod's proxy leaves the pod."""
    pod = {"resource": "pods", "namespace": "n", "name": "a", "apiVersion": "v1"}
    evicted = parsed(verb="create", objectRef={**pod, "subresource": "eviction"}, responseStatus={"code": 201})
    assert evicted is not None
    assert (evicted.does, evicted.resource, evicted.name, evicted.creates) == ("delete", "pods", "a", False)
    proxied = parsed(objectRef={**pod, "subresource": "proxy"})
    assert proxied is not None
    assert proxied.does == "write"


@pytest.mark.parametrize("more", [{"responseStatus": {"code": 504}}, {"responseStatus": None}, {"stage": "Panic"}])
def test_what_got_no_answer_may_have_changed_something(more: dict[str, Any]) -> None:
    """It counts among those who can have made a change, and proves none."""
    found = parsed(**more)
    assert found is not None
    assert found.certain == (more.get("stage") == "Panic")


def test_a_deep_object_hides_nobody() -> None:
    """A client chooses what is in its object: its request is read as any other."""
    deep = "[" * 3000 + "]" * 3000
    line = json.dumps(
        event(verb="patch", requestObject="DEEP", responseObject={"metadata": {"uid": "u", "resourceVersion": "7"}, "spec": "DEEP"})
    )
    found = request_of(line.replace('"DEEP"', deep).encode())
    assert found is not None
    assert (found.user, found.uid, found.version) == ("alice", "u", "7")


@pytest.mark.parametrize(
    "line",
    [
        b"",
        b"[]",
        b"{}",
        b"null",
        b'{"user": 3}',
        b"\xff",
        json.dumps(event(apiVersion="v1")).encode(),
        json.dumps(event(stageTimestamp="soon")).encode(),
        json.dumps(event(user="alice")).encode(),
    ],
)
def test_what_is_no_event_is_refused(line: bytes) -> None:
    """Not passed over: whoever it is about could be the one."""
    with pytest.raises(Unreadable):
        request_of(line)


@given(st.binary())
def test_any_bytes_are_an_event_or_unreadable(line: bytes) -> None:
    """Nothing else comes of them."""
    with contextlib.suppress(Unreadable):
        request_of(line)


def test_files_are_read_whole(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """A line that is no event is named; only the last one, not yet ended, may be half of one. A request in two files is one."""
    one, two = tmp_path / "1", tmp_path / "2"
    line = json.dumps(event()).encode()
    one.write_bytes(line + b"\n\n" + json.dumps(event(verb="get")).encode() + b"\n" + line[:50])
    two.write_bytes(line + b"\n")
    assert len(read_requests([one, two])) == 1
    one.write_bytes(line + b"\n" + line[:50] + b"\n")
    with pytest.raises(Invalid, match=f"line 2 of {one} is no event"):
        read_requests([two, one])
    with pytest.raises(Invalid, match="there is no audit log"):
        read_requests([tmp_path / "3"])
    monkeypatch.setattr(audit_log, "MOST_REQUESTS", 1)
    two.write_bytes(line + b"\n" + json.dumps(event(user={"username": "bob"})).encode() + b"\n")
    with pytest.raises(Invalid, match="more than 1 requests"):
        read_requests([two])

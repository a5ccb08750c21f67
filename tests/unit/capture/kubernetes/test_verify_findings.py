"""What a verifying list found, and who explains it."""

from __future__ import annotations

from archiver.capture.kubernetes.journal_view import ResumedStream
from archiver.capture.kubernetes.known_objects import KnownObjects, Verification
from archiver.capture.kubernetes.stream_context import Interest
from archiver.capture.kubernetes.verify_findings import VerifyFindings
from archiver.kubernetes.json_fields import Event, Head, Meta


def found() -> Verification:
    """A list at 20 has an object that a watch at 10 has not told."""
    return Verification(KnownObjects().compare({("n", "a"): ("u", "15")}), "10", "20", 0)


def test_what_events_explain_is_not_missed() -> None:
    """The finding is given when the watch has passed the list, once."""
    findings = VerifyFindings(None, Interest())
    findings.found(found())
    assert findings.passed("12") is None
    findings.event(Event("ADDED", Head(Meta(name="a", namespace="n", uid="u", resource_version="15"))))
    passed = findings.passed("15")
    assert passed is not None
    assert (passed.gone, passed.changed) == ({}, {})
    assert (findings.open, findings.passed("30")) == (False, None)


def test_what_no_event_explains_is_given_when_the_watch_has_passed_or_ended() -> None:
    """With what is left of it."""
    findings = VerifyFindings(None, Interest())
    findings.found(found())
    passed = findings.passed("21")
    assert passed is not None
    assert set(passed.changed) == {"u"}
    findings.found(found())
    assert findings.open
    given = findings.give_up()
    assert given is not None
    assert findings.give_up() is None


def test_a_start_goes_on_with_what_the_journal_has_not_explained() -> None:
    """But for objects that are not captured any more."""
    resumed = ResumedStream()
    resumed.verification, resumed.agreed = found(), ("9", 7)
    findings = VerifyFindings(resumed, Interest(keep=lambda name: name != "a"))
    assert findings.agreed == ("9", 7)
    passed = findings.passed("10")
    assert passed is not None
    assert passed.changed == {}

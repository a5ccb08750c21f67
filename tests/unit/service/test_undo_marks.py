"""What the archive must have of objects before a restore writes over them."""

from __future__ import annotations

import pytest

from archiver.errors import Refused
from archiver.kubernetes.redaction_mark import APPLIED_PATH
from archiver.replay.kubernetes.plan_file import PlannedObject
from archiver.service.undo_marks import _require_whole

NO_TEXT = b'{"metadata":{"name":"a"},"sp\xff":1}'


@pytest.mark.parametrize(
    ("body", "whole"),
    [
        (b'{"metadata":{"name":"a"}}', True),
        (b'{"metadata":{"name":"a","archiverRedacted":["%b"]}}' % APPLIED_PATH.encode(), True),
        (b'{"metadata":{"name":"a","archiverRedacted":["%b","spec.token"]}}' % APPLIED_PATH.encode(), False),
        (b'{"metadata":{"name":"a","archiverRedacted":["*"]}}', False),
        (NO_TEXT, False),
    ],
)
def test_an_object_is_there_whole_or_the_restore_is_refused(body: bytes, *, whole: bool) -> None:
    """Without the copy of `kubectl apply` it is; without a field, or where it cannot be read, it is not."""
    over = [PlannedObject("replace", "update", "things.g.io", "n", "a", uid="u", resource_version="7")]
    known = {(*over[0].key, "u", "7"): body}
    if whole:
        _require_whole(over, known)
        return
    with pytest.raises(Refused, match=r"first things\.g\.io n/a"):
        _require_whole(over, known)

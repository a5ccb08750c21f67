"""Objects whose bytes are no UTF-8: what history files say is what the journal says."""

from __future__ import annotations

import asyncio

import pytest

from archiver.clock import SystemClock
from archiver.history.object_at import object_at
from archiver.history.objects import ObjectRef, object_log
from archiver.history.sql.as_of import _text
from archiver.journal.entry import Kind
from archiver.journal.reader import Reader
from archiver.maintenance.history_checking import check_history
from archiver.maintenance.object_history import add_object_history
from archiver.replay.kubernetes.folded_stream import Cut
from tests.unit.history.test_redacted_states import Story

REF = ObjectRef("things", "n", "a")
META = b'"metadata":{"name":"a","namespace":"n","uid":"u","resourceVersion":"%d"}'


@pytest.mark.parametrize("kind", [Kind.K8S_ITEM, Kind.K8S_EVENT])
@pytest.mark.parametrize(("value", "readable"), [(b"caf\xe9", False), ("caf\ufffd".encode(), True)])
def test_files_say_what_the_journal_says(kind: Kind, value: bytes, *, readable: bool) -> None:
    """Also of a character that stands for such bytes, and was written by somebody."""
    story = Story()
    body = b"{" + META % 2 + b',"spec":{"t":"' + value + b'"}}'
    story.listed("start", 2, body if kind is Kind.K8S_ITEM else body.replace(value, b"cafe"))
    if kind is Kind.K8S_EVENT:
        story.add(kind, b'{"type":"MODIFIED","object":' + body.replace(b'"2"', b'"3"') + b"}", "3")

    async def told() -> tuple[object, ...]:
        reader = Reader(story.forgery.store)
        return await object_log(reader, "kube", REF), await object_at(reader, "kube", REF, Cut())

    async def filed() -> None:
        alone = await told()
        assert ("cannot be read" in str(alone)) == (not readable)
        await add_object_history(Reader(story.forgery.store), SystemClock(), "kube")
        assert await told() == alone
        (checked,) = await check_history(Reader(story.forgery.store), level="all", turn=0)
        assert checked.bad == []

    asyncio.run(filed())


def test_sql_has_no_text_for_them() -> None:
    """Nor another text."""
    assert (_text(b"caf\xe9"), _text("caf\u00e9".encode())) == (None, "caf\u00e9")

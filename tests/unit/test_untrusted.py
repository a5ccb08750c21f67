"""Reading what a source wrote."""

from __future__ import annotations

import contextlib

import msgspec
import pytest
from hypothesis import given
from hypothesis import strategies as st

from archiver.kubernetes import json_fields as kj
from archiver.postgres.announcements import Announcement, read_announcement
from archiver.untrusted import Unreadable, UntrustedDecoder, decode_untrusted

JSON = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats() | st.text(),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.sampled_from(["objects", "oid", "tag", "metadata", "x"]), inner),
    max_leaves=8,
)
BODIES = st.binary(max_size=60) | JSON.map(msgspec.json.encode)


@given(body=BODIES, cut=st.integers(0, 60))
def test_only_the_documented_error(body: bytes, cut: int) -> None:
    """Every body, whole or cut, is read or ``Unreadable``; an announcement is read or none."""
    for each in (body, body[:cut]):
        found = read_announcement(each)
        assert found is None or isinstance(found, Announcement)
        for decoder in (kj.head, kj.event, kj.line, kj.page, kj.status):
            with contextlib.suppress(Unreadable):
                decoder.decode(each)
        with contextlib.suppress(Unreadable):
            assert isinstance(kj.plain(each), dict)


@pytest.mark.parametrize(
    ("body", "says"),
    [
        (b'{"x":' + b"[" * 200_000, "nested too deeply"),
        (b'{"x":' * 5000 + b"1" + b"}" * 5000, "nested too deeply"),
        (b'{"tag":"\xff"}', "not UTF-8"),
        (b'{"tag":1}', r"another form - at `\$.tag`"),
        (b"{" + b" " * 1000, "more than the 1000 that are read"),
        (b"{", "truncated"),
    ],
    ids=["nested", "nested objects", "not utf-8", "another form", "large", "cut"],
)
def test_what_is_wrong_is_said_without_the_bytes(body: bytes, says: str) -> None:
    """One error, which says the kind of fault and quotes nothing."""

    class Form(msgspec.Struct):
        tag: str = ""

    most = 1000 if b" " in body else 1 << 20
    with pytest.raises(Unreadable, match=says):
        decode_untrusted(body, Form, most=most)
    with pytest.raises(Unreadable, match=says):
        UntrustedDecoder(Form, most=most).decode(body)


def test_a_value_is_not_quoted() -> None:
    """An unknown choice is named by its place, not by what stands there."""

    class Form(msgspec.Struct, tag_field="kind", tag="known"):
        pass

    with pytest.raises(Unreadable) as caught:
        decode_untrusted(b'{"kind":"secret"}', Form, most=100)
    assert "secret" not in str(caught.value)

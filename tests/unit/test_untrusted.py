"""Reading what a source wrote."""

from __future__ import annotations

import contextlib

import msgspec
import pytest
from hypothesis import given
from hypothesis import strategies as st

from archiver.kubernetes import json_fields as kj
from archiver.postgres.announcements import Announcement, read_announcement
from archiver.untrusted import Unreadable, UntrustedDecoder, decode_untrusted, elements, members

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


def nested(levels: int, inside: bytes = b"1") -> bytes:
    return b'{"a":' * levels + inside + b"}" * levels


def an_object(levels: int) -> bytes:
    fields = nested(levels).replace(b'"a"', b'"f:a"')
    meta = b'{"managedFields":[{"manager":"m","fieldsV1":' + fields + b'}],"name":"n","namespace":"s","uid":"u","resourceVersion":"7"}'
    return b'{"apiVersion":"g/v1","kind":"K","metadata":' + meta + b',"spec":{"x":' + nested(levels, b'"}]\\\\\\"{"') + b',"n":1}}'


@pytest.mark.parametrize("levels", [1, 99, 300, 990, 9900])
def test_no_depth_hides_what_an_object_is_called(levels: int) -> None:
    """However deep spec and managed fields nest, the object is named, its watch line taken apart, its page cut, and its bytes written again."""
    body = an_object(levels)
    assert kj.head.decode(body).metadata == kj.Meta("n", "s", "u", "7")
    line = b'{"type":"ADDED","object":' + body + b"}"
    assert (kj.event.decode(line).type, kj.event.decode(line).object.metadata.name) == ("ADDED", "n")
    assert kj.object_of(line) == body
    page = kj.page.decode(b'{"kind":"KList","metadata":{"resourceVersion":"9"},"items":[ ' + body + b", " + body + b" ]}")
    assert (page.metadata.resource_version, [bytes(item) for item in page.items or []]) == ("9", [body, body])
    found = kj.plain(body)
    assert found["metadata"]["managedFields"][0]["manager"] == "m"
    assert found["spec"]["n"] == 1
    assert msgspec.json.encode(found) == body
    assert kj.same(found, kj.plain(body))
    assert not kj.same(found, kj.plain(body.replace(b"1}}", b"2}}")))


@given(value=JSON)
def test_values_are_taken_apart_as_a_decoder_does(value: object) -> None:
    """Members and elements are the same values as the decoder's; anything else is ``Unreadable``."""
    body = msgspec.json.encode(value)
    for spaced in (body, msgspec.json.format(body, indent=1), b" " + body + b"\n"):
        if isinstance(value, dict):
            found = {key: msgspec.json.decode(each) for key, each in members(spaced).items()}
            assert msgspec.json.encode(found) == msgspec.json.encode(msgspec.json.decode(body))
        elif isinstance(value, list):
            assert msgspec.json.encode([msgspec.json.decode(each) for each in elements(spaced)]) == body
        else:
            with pytest.raises(Unreadable):
                members(spaced)


@given(body=st.text(alphabet='{}[]",:\\a1 ', max_size=30).map(str.encode))
def test_what_is_not_json_is_unreadable_or_in_pieces(body: bytes) -> None:
    """Brackets and quotes in any order end in ``Unreadable`` or in pieces, in no other error."""
    for taken_apart in (members, elements, kj.plain):
        with contextlib.suppress(Unreadable):
            taken_apart(body)

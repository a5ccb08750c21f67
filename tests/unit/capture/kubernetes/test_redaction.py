"""Fields that are cut out of objects, byte by byte."""

from __future__ import annotations

import json
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from archiver.capture.kubernetes.field_path import parse_field
from archiver.capture.kubernetes.redaction import Redactor
from archiver.errors import Invalid
from archiver.kubernetes import json_fields as kj
from archiver.kubernetes.records import Resource
from archiver.kubernetes.redaction_mark import EVERYTHING, REDACTED, redacted_paths

RUNS = Resource("example.com", "v1", "runs", "Run", True)
SECRET = "hunter2"


def redactor(*paths: str) -> Redactor:
    found = Redactor.of([f"runs.example.com/{path}" for path in paths], RUNS)
    assert found is not None
    return found


def cut(body: bytes | dict[str, Any], *paths: str) -> bytes:
    text = body if isinstance(body, bytes) else json.dumps(body, separators=(",", ":")).encode()
    left, whole = redactor(*paths).object(text, kj.head.decode(text).metadata)
    assert whole
    return left


def an_object(**fields: Any) -> dict[str, Any]:
    return {"apiVersion": "example.com/v1", "kind": "Run", "metadata": {"name": "a", "uid": "u", "resourceVersion": "7"}, **fields}


@pytest.mark.parametrize(
    ("path", "spec", "left"),
    [
        ("spec.token", {"token": SECRET, "kept": 1}, {"kept": 1}),
        ("spec.auth", {"auth": {"token": [SECRET]}, "kept": 1}, {"kept": 1}),
        ("spec.env[*].value", {"env": [{"name": "A", "value": SECRET}, {"name": "B"}]}, {"env": [{"name": "A"}, {"name": "B"}]}),
        ("spec.env.value", {"env": [{"name": "A", "value": SECRET}]}, {"env": [{"name": "A"}]}),
        ("spec.env.value", {"env": [[{"value": SECRET}], {"name": "A"}]}, {"env": [{"name": "A"}]}),
        ("spec.tokens[*]", {"tokens": [SECRET, SECRET]}, {"tokens": []}),
        ("spec.data.*", {"data": {"one": SECRET, "two": SECRET}}, {"data": {}}),
        ("spec.*.token", {"one": {"token": SECRET, "kept": 1}, "two": [{"token": SECRET}]}, {"one": {"kept": 1}, "two": [{}]}),
        ("spec[a.b/c].d", {"a.b/c": {"d": SECRET}}, {"a.b/c": {}}),
    ],
)
def test_what_a_path_names_is_gone_and_the_rest_stays(path: str, spec: Any, left: Any) -> None:
    """A star is every member or element, a name that meets a list holds for its elements, brackets take dots."""
    found = cut(an_object(spec=spec), path)
    assert SECRET.encode() not in found
    assert json.loads(found)["spec"] == left
    assert redacted_paths(json.loads(found)) == [path]


def test_bytes_that_are_not_cut_stay_as_they_came() -> None:
    """Numbers, escapes and spaces as the server wrote them."""
    body = b'{"kind":"Run","metadata":{"name":"a"},"spec":{"n":1.50e2,"big":123456789012345678901234567890,"t":"\\u00e4 \\/" }}'
    assert cut(body, "spec.token") == body
    with_token = body.replace(b'"n":', b'"token":"hunter2","n":')
    assert cut(with_token, "spec.token") == body.replace(b" }}", b"}}").replace(b'"a"}', b'"a","archiverRedacted":["spec.token"]}')


def test_a_name_that_is_escaped_or_stands_twice_is_found() -> None:
    """What another reader would take for the field is cut."""
    found = cut(b'{"metadata":{"name":"a"},"spec":{"\\u0074oken":"hunter2","token":"hunter2","kept":1}}', "spec.token")
    assert json.loads(found)["spec"] == {"kept": 1}


def test_the_copy_of_kubectl_apply_goes_whatever_it_holds() -> None:
    """It has the object once more, as text; also where the field itself is gone by now."""
    note = {"kubectl.kubernetes.io/last-applied-configuration": json.dumps({"spec": {"token": SECRET}}), "kept": "1"}
    body = an_object()
    body["metadata"]["annotations"] = note
    found = json.loads(cut(body, "spec.token"))
    assert found["metadata"]["annotations"] == {"kept": "1"}
    assert redacted_paths(found) == ["metadata.annotations[kubectl.kubernetes.io/last-applied-configuration]"]


def test_managed_fields_keep_names_alone() -> None:
    """Sets stand there with their values, lists by keys that may be what is redacted."""
    fields = {
        "f:spec": {
            ".": {},
            "f:token": {},
            "f:tokens": {".": {}, f'v:"{SECRET}"': {}},
            "f:users": {f'k:{{"token":"{SECRET}"}}': {".": {}, "f:token": {}}, 'k:{"name":"a"}': {"f:name": {}, "f:token": {}}},
            "f:tree": {'k:{"a":1}': {f'k:{{"token":"{SECRET}"}}': {}}},
            "f:map": {".": {}, "f:one": {f'v:"{SECRET}"': {}}},
        }
    }
    body = an_object(spec={"token": SECRET})
    body["metadata"]["managedFields"] = [{"manager": "m", "fieldsV1": fields}, {"manager": "n"}]
    found = cut(body, "spec.token", "spec.tokens[*]", "spec.users.token", "spec.tree.token", "spec.map.*")
    assert SECRET.encode() not in found
    left = json.loads(found)["metadata"]["managedFields"][0]["fieldsV1"]["f:spec"]
    assert left == {
        ".": {},
        "f:token": {},
        "f:tokens": {".": {}},
        "f:users": {'k:{"name":"a"}': {"f:name": {}, "f:token": {}}},
        "f:tree": {'k:{"a":1}': {}},
        "f:map": {".": {}, "f:one": {}},
    }


@pytest.mark.parametrize("value", ['{"token":"hunter2"}', ' {"token":"hunter2"}', '[{"token":"hunter2"}]', '[["hunter2"]]', "{"])
def test_an_owned_element_that_is_known_by_an_object_goes(value: str) -> None:
    """It may hold what a path leads to; one that is known by a text, which no path leads into, stays."""
    body = an_object(spec={"users": []})
    fields: dict[str, Any] = {"f:spec": {"f:users": {f"v:{value}": {}, 'v:"kept"': {}}, "f:others": {f"v:{value}": {}}}}
    body["metadata"]["managedFields"] = [{"manager": "m", "fieldsV1": fields}]
    found = json.loads(cut(body, "spec.users[*].token", "spec.users.token"))["metadata"]["managedFields"][0]["fieldsV1"]
    assert found == {"f:spec": {"f:users": {'v:"kept"': {}}, "f:others": {f"v:{value}": {}}}}


def test_a_mark_is_only_ours() -> None:
    """One that came with the object says nothing of it."""
    body = an_object(spec={})
    body["metadata"][REDACTED] = ["spec.other"]
    assert redacted_paths(json.loads(cut(body, "spec.token"))) == []


def test_a_watch_line_is_cut_in_its_object() -> None:
    """Its type stays in front."""
    line = b'{"type":"MODIFIED","object":{"metadata":{"name":"a","uid":"u","resourceVersion":"7"},"spec":{"token":"hunter2"}}}'
    event = kj.event.decode(line)
    left, whole = redactor("spec.token").line(line, event.type, event.object.metadata)
    assert whole
    assert (
        left
        == b'{"type":"MODIFIED","object":{"metadata":{"name":"a","uid":"u","resourceVersion":"7","archiverRedacted":["spec.token"]},"spec":{}}}'
    )


@pytest.mark.parametrize(
    "body", [b'{"metadata":{"name":"a"},"spec":{"token":"hunter2"', b'{"metadata":{"name":"a"},"spec":{"token" "hunter2"}}', b"[]"]
)
def test_of_what_cannot_be_read_only_the_name_is_kept(body: bytes) -> None:
    """Never its bytes."""
    meta = kj.Meta("a", "s", "u", "7")
    left, whole = redactor("spec.token").object(body, meta)
    assert not whole
    assert json.loads(left) == {"metadata": {"name": "a", "namespace": "s", "uid": "u", "resourceVersion": "7", REDACTED: [EVERYTHING]}}
    line, whole = redactor("spec.token").line(b'{"type":"ADDED","object":' + body + b"}", "ADDED", meta)
    assert (json.loads(line), whole) == ({"type": "ADDED", "object": json.loads(left)}, False)


def test_objects_that_nest_too_deeply_for_a_decoder_are_cut_all_the_same() -> None:
    """Whoever may write an object chooses how deep it nests, and so what its managedFields are."""
    deep = b'{"a":' * 20_000 + b"1" + b"}" * 20_000
    lists = b"[" * 20_000 + b"1" + b"]" * 20_000
    owned = b'{"f:spec":{"f:list":' + b'{"k:{}":' * 20_000 + b"{}" + b"}" * 20_000 + b"}}"
    body = b'{"metadata":{"name":"a","managedFields":[{"fieldsV1":%b}]},"spec":{"deep":%b,"list":%b,"token":"hunter2"}}' % (
        owned,
        deep,
        lists,
    )
    found = cut(body, "spec.token", "spec.list.token", "spec.deep.a.a.token")
    assert b"hunter2" not in found
    assert deep in found


def test_resources_are_written_as_in_resources() -> None:
    """Whole groups, too; what no line names is not read at all."""
    assert Redactor.of(["*.example.com/spec.token"], RUNS) is not None
    assert Redactor.of(["others.example.com/spec.token"], RUNS) is None
    assert redactor("spec.b", "spec.a", "spec.b").paths == ["spec.a", "spec.b"]


@pytest.mark.parametrize(
    "line", ["runs.example.com", "/spec.a", "runs.example.com/", "r/spec..a", "r/spec.a.", "r/.spec", "r/spec[a", "r/spec.a*", "r/spec[]"]
)
def test_a_line_that_names_no_field_is_refused(line: str) -> None:
    """It would be believed to hold."""
    with pytest.raises(Invalid, match="names no field"):
        parse_field(line)


@pytest.mark.parametrize(
    "path", ["metadata", "metadata.name", "metadata.uid", "metadata.*", "kind", "apiVersion", "*", "[*].a", "metadata.ownerReferences"]
)
def test_what_an_object_is_known_by_cannot_be_cut(path: str) -> None:
    """Nobody could say what it is."""
    with pytest.raises(Invalid):
        parse_field(f"runs.example.com/{path}")


_JSON = st.recursive(
    st.none() | st.booleans() | st.integers() | st.text(max_size=5),
    lambda below: st.lists(below, max_size=4) | st.dictionaries(st.sampled_from("abcd"), below, max_size=4),
    max_leaves=25,
)


def _reached(value: Any, parts: tuple[str, ...], *, through: bool = False) -> bool:
    """Whether ``parts`` lead to something."""
    if not parts:
        return True
    if isinstance(value, dict):
        return any(_reached(below, parts[1:]) for key, below in value.items() if parts[0] in (key, "*"))
    if isinstance(value, list):
        if parts[0] == "*":
            return any(_reached(below, parts[1:]) for below in value)
        return any(isinstance(below, list) or _reached(below, parts) for below in value)
    return False


@given(_JSON, st.lists(st.sampled_from(["a", "b", "*"]), min_size=1, max_size=3))
def test_whatever_an_object_holds_a_path_leads_to_nothing_afterwards(spec: Any, parts: list[str]) -> None:
    """And where it led to nothing before, not a byte is changed."""
    path = ".".join(("spec", *parts))
    body = json.dumps(an_object(spec=spec), separators=(",", ":")).encode()
    found = cut(body, path)
    left = json.loads(found)
    assert not _reached(left["spec"], tuple(parts))
    assert (redacted_paths(left) == [path]) == _reached(spec, tuple(parts)) == (found != body)

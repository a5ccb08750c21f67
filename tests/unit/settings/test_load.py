"""File and environment become settings; what is wrong is named."""

import contextlib
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from archiver.errors import Invalid
from archiver.settings import Settings, load, overlay, parse


def refused(data: dict[str, object]) -> str:
    with pytest.raises(Invalid) as error:
        parse(data, "file.yaml")
    return str(error.value)


def test_nothing_is_the_default() -> None:
    """An empty file and an empty environment give the defaults."""
    assert load(None, {}) == Settings()


def test_unknown_key_is_named_with_its_neighbour() -> None:
    """A misspelt key is named with its place, the nearest allowed key and all allowed keys."""
    text = refused({"archive": {"segmentbytes": 1}})
    assert "archive" in text
    assert "segmentbytes" in text
    assert "did you mean segment_bytes?" in text


def test_wrong_type_names_key_found_and_allowed() -> None:
    """A value of a wrong type is named with its key, what was found and what is allowed."""
    text = refused({"archive": {"puts_per_second": "many"}})
    assert "archive.puts_per_second" in text
    assert "'many'" in text
    assert "float" in text


def test_out_of_range_names_the_limit() -> None:
    """A number outside its range names the range."""
    assert ">= 65536" in refused({"archive": {"segment_bytes": 5}})


@pytest.mark.parametrize("line", ["users.secret", "secret", "public..secret", "public.users."])
def test_a_line_of_redact_names_a_column(line: str) -> None:
    """With its table and schema: a shorter name would hide nothing."""
    assert repr(line) in refused({"sources": {"db": {"postgres": {"dsn": "dbname=a", "redact": [line]}}}})
    parse({"sources": {"db": {"postgres": {"dsn": "dbname=a", "redact": ["public.*.secret"]}}}}, "file.yaml")


@pytest.mark.parametrize("line", ["runs.example.com", "spec.token", "runs.example.com/metadata.name", "runs.example.com/spec..a"])
def test_a_line_of_redact_names_a_field(line: str) -> None:
    """Of a resource, and none that an object is known by."""
    assert repr(line) in refused({"sources": {"kube": {"kubernetes": {"redact": [line]}}}})
    parse({"sources": {"kube": {"kubernetes": {"redact": ["*.example.com/spec.env[*].value"]}}}}, "file.yaml")


def test_for_ever_is_no_number(tmp_path: Path) -> None:
    """What no clock can count is refused where it is written, and not where somebody counts it."""
    for written in (".inf", "1e30", ".nan"):
        file = tmp_path / "s.yaml"
        file.write_text(f"maintenance:\n  behind_seconds: {written}\n")
        with pytest.raises(Invalid, match="behind_seconds"):
            load(file, {})


def test_a_file_without_end_is_not_read_to_it() -> None:
    """A device, or a file that cannot be settings by its size, is refused at once."""
    with pytest.raises(Invalid, match="larger than"):
        load(Path("/dev/zero"), {})


def test_secrets_are_not_shown() -> None:
    """What stands where a secret may stand is never printed."""
    text = refused({"sources": {"db": {"postgres": {"dsn": 12345, "password": 99999}}}})
    assert "12345" not in text
    assert "99999" not in text


@pytest.mark.parametrize(
    "data",
    [
        {"archive": {"s3": {"access_key": "hunter2", "secret_key": "env:X"}}},
        {"archive": {"s3": {"access_key": "env:X", "secret_key": "hunter2"}}},
        {"sources": {"db": {"postgres": {"dsn": "host=a", "password": "hunter2"}}}},
        {"archive": {"url": "s3://user:hunter2@bucket/prefix"}},
        {"archive": {"url": "s3://bucket/prefix?secret=hunter2"}},
    ],
)
def test_secrets_are_named_not_given(data: dict[str, object]) -> None:
    """A secret that stands in the settings itself is refused at once and not repeated, so that nothing can print it."""
    text = refused(data)
    assert "hunter2" not in text
    assert "archive." in text or "sources.db.postgres.password" in text


@pytest.mark.parametrize(
    "given", [{"heartbeat_seconds": 30}, {"puts_per_second": 0.02}, {"heartbeat_seconds": 5, "takeover_after_seconds": 5}]
)
def test_a_living_writer_is_never_silent_for_too_long(given: dict[str, object]) -> None:
    """Settings by which another instance would fence a writer that merely has nothing to write, or saves PUTs, are refused."""
    text = refused({"archive": given})
    assert "takeover_after_seconds" in text
    assert "heartbeat_seconds" in text
    parse({"archive": {**given, "takeover_after_seconds": 60}}, "file.yaml")


@pytest.mark.parametrize("source", [{}, {"postgres": {"dsn": "x"}, "kubernetes": {}}])
def test_a_source_is_exactly_one_thing(source: dict[str, object]) -> None:
    """A source that is neither or both kinds is refused."""
    assert "exactly one" in refused({"sources": {"db": source}})


@pytest.mark.parametrize("name", ["A", "a_b", "-a", "a/b", ""])
def test_source_names_are_checked(name: str) -> None:
    """A source name that could not be part of a key or a slot name is refused."""
    assert "not allowed" in refused({"sources": {name: {"postgres": {"dsn": "x"}}}})


def test_environment_wins_over_file(tmp_path: Path) -> None:
    """A variable replaces the file's value and leaves its neighbours."""
    file = tmp_path / "a.yaml"
    file.write_text("archive: {url: 'file:///a', puts_per_second: 3}\nsources: {db: {postgres: {dsn: 'host=a'}}}\n")
    environment = {
        "ARCHIVER_ARCHIVE__URL": "file:///b",
        "ARCHIVER_SOURCES__DB__POSTGRES__SCHEMAS": "public, audit",
        "ARCHIVER_SOURCES__AGENTS_DB__POSTGRES__DSN": "host=c",
    }
    settings = load(file, environment)
    assert settings.archive.url == "file:///b"
    assert settings.archive.puts_per_second == 3
    assert settings.sources["db"].postgres is not None
    assert settings.sources["db"].postgres.schemas == ["public", "audit"]
    assert settings.sources["agents-db"].postgres is not None


def test_unknown_variable_is_refused() -> None:
    """A misspelt variable is an error, not a silently ignored wish."""
    with pytest.raises(Invalid, match="ARCHIVER_ARCHIVE__URI"):
        load(None, {"ARCHIVER_ARCHIVE__URI": "x"})


@pytest.mark.parametrize(
    "name", ["ARCHIVER_PORT", "ARCHIVER_SERVICE_HOST", "ARCHIVER_PORT_8080_TCP_ADDR", "ARCHIVER_AGENTS_SERVICE_PORT_HTTP"]
)
def test_service_links_are_no_settings(name: str) -> None:
    """Variables that Kubernetes injects for a Service called archiver are left alone."""
    assert load(None, {name: "tcp://10.0.0.1:8080"}) == Settings()


def test_broken_yaml_names_the_line(tmp_path: Path) -> None:
    """A file that is not YAML is refused with the line."""
    file = tmp_path / "a.yaml"
    file.write_text("archive:\n  url: 'x\n")
    with pytest.raises(Invalid, match="line"):
        load(file, {})


@pytest.mark.parametrize("text", ["a: !!int", "a: !!int ''", "a: !!bool perhaps", "a: !!timestamp soon", "a: !!float", "a: !!binary é"])
def test_what_a_tag_calls_a_number_and_is_none_is_refused(text: str, tmp_path: Path) -> None:
    """YAML's own library ends in whatever error its arithmetic has for such a value."""
    file = tmp_path / "a.yaml"
    file.write_text(text)
    with pytest.raises(Invalid, match="is not YAML"):
        load(file, {})


@pytest.mark.parametrize(
    ("text", "lines"),
    [
        ("sources:\n  one: {postgres: {dsn: 'host=a'}}\nsources:\n  two: {postgres: {dsn: 'host=b'}}\n", (1, 3)),
        ("sources:\n  one: {postgres: {dsn: 'host=a'}}\n\n  one: {postgres: {dsn: 'host=b'}}\n", (2, 4)),
    ],
)
def test_a_key_that_stands_twice_is_refused(text: str, lines: tuple[int, int], tmp_path: Path) -> None:
    """A second block of sources, or a second source of one name, would silently leave the first uncaptured: it is named with both lines."""
    file = tmp_path / "a.yaml"
    file.write_text(text)
    with pytest.raises(Invalid, match=f"twice: at line {lines[0]} and at line {lines[1]}"):
        load(file, {})


def test_what_a_merge_brings_may_be_replaced(tmp_path: Path) -> None:
    """A YAML merge key is no second key."""
    file = tmp_path / "a.yaml"
    file.write_text("sources:\n  a: {postgres: &a {dsn: 'host=a', schemas: [x]}}\n  b: {postgres: {<<: *a, dsn: 'host=b'}}\n")
    found = load(file, {}).sources["b"].postgres
    assert found is not None
    assert (found.dsn, found.schemas) == ("host=b", ["x"])


def test_a_text_in_brackets_is_no_list() -> None:
    """The brackets of an IPv6 address do not make a list of it."""
    assert load(None, {"ARCHIVER_WEB__LISTEN": "[::1]:8080"}).web.listen == "[::1]:8080"
    lists = load(None, {"ARCHIVER_SOURCES__DB__POSTGRES__DSN": "host=a", "ARCHIVER_SOURCES__DB__POSTGRES__SCHEMAS": '["a", "b"]'})
    assert lists.sources["db"].postgres is not None
    assert lists.sources["db"].postgres.schemas == ["a", "b"]


def test_missing_file_is_named(tmp_path: Path) -> None:
    """A file that is not there is named."""
    with pytest.raises(Invalid, match=r"nowhere\.yaml"):
        load(tmp_path / "nowhere.yaml", {})


@given(
    st.dictionaries(st.text(max_size=5), st.recursive(st.none() | st.integers() | st.text(max_size=5), lambda x: st.lists(x, max_size=3)))
)
def test_any_data_is_settings_or_invalid(data: dict[str, object]) -> None:
    """Whatever a YAML file holds, the answer is settings or ``Invalid``, never another exception."""
    with contextlib.suppress(Invalid):
        assert isinstance(parse(overlay(data, {}), "x"), Settings)


def test_a_misspelt_variable_and_a_misplaced_key_are_named_with_what_was_meant() -> None:
    """The nearest setting of that level, or the only place that has the key."""
    with pytest.raises(Invalid, match=r"did you mean segment_bytes\?"):
        overlay({}, {"ARCHIVER_ARCHIVE__SEGMENTBYTES": "1"})
    assert "did you mean archive.segment_bytes?" in refused({"segment_bytes": 70000})
    assert "did you mean sources.NAME.kubernetes.namespaces?" in refused({"sources": {"crs": {"namespaces": ["a"]}}})


SQL = {"name": "a", "source": "db", "sql": "SELECT 1"}
OBJECTS = {"name": "a", "source": "agents", "kind": "runs.example.com"}


@pytest.mark.parametrize(
    ("given", "message"),
    [
        ({**SQL, "name": "", "equals": 1}, "number 1: it has no name"),
        ({**SQL, "source": "", "equals": 1}, "a: it does not say what is asked"),
        ({"name": "a", "source": "db", "equals": 1}, "does not say what is asked"),
        ({**SQL, "kind": "runs", "equals": 1}, "does not say what is asked"),
        ({**SQL, "path": "$.a", "equals": 1}, "are of objects"),
        (SQL, "does not say what is expected"),
        ({**SQL, "equals": 1, "nothing": True}, "does not say what is expected"),
        ({**SQL, "equals": 1, "at_most": 2}, "does not say what is expected"),
        ({**SQL, "at_least": float("nan")}, "not a number"),
        ({**OBJECTS, "equals": "1"}, "without a path objects are counted"),
        ({**OBJECTS, "selector": "a b", "equals": 1}, "a: .* is no label selector"),
        ({**OBJECTS, "path": "status", "equals": 1}, "a: 'status' is no JSONPath"),
    ],
)
def test_an_assertion_says_what_is_asked_and_expected(given: dict[str, object], message: str) -> None:
    """A drill that cannot be meant is refused with the settings, not at three in the morning."""
    with pytest.raises(Invalid, match=message):
        parse({"drills": {"assertions": [given]}}, "file")


def test_assertions_have_names_of_their_own_and_may_come_from_the_environment() -> None:
    """A name that stands twice could be either in a report."""
    with pytest.raises(Invalid, match="the name is taken"):
        parse({"drills": {"assertions": [{**SQL, "equals": 1}, {**OBJECTS, "equals": 1}]}}, "file")
    text = '[{"name": "a", "source": "db", "sql": "SELECT 1", "equals": 1}]'
    (found,) = parse(overlay({}, {"ARCHIVER_DRILLS__ASSERTIONS": text}), "environment").drills.assertions
    assert (found.sql, found.equals) == ("SELECT 1", 1)

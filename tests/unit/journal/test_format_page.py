"""The published format says what the code does."""

from __future__ import annotations

import re
from pathlib import Path

from archiver.journal import pack
from archiver.journal import segment as form
from archiver.journal.chain import VOID_REACH
from archiver.journal.entry import Kind, SourceMark
from archiver.journal.identity import FORMAT, Identity
from archiver.journal.keys import pack_key, part_key, segment_key
from archiver.journal.parts import ROWS_LIMIT
from archiver.journal.segment_header import ChangesHeader

PAGE = (Path(__file__).parents[3] / "docs" / "reference" / "format.md").read_text()


def fields(heading: str) -> list[str]:
    """Names in the first numbered table after ``heading``, in order; the numbers must count from 0."""
    rows = re.findall(r"^\| (\d+) \| `(\w+)` \|", PAGE[PAGE.index(heading) :].split("\n\n| # |")[1].split("\n\n")[0], re.MULTILINE)
    assert [int(number) for number, _ in rows] == list(range(len(rows)))
    return [name for _, name in rows]


def test_structs_are_as_published() -> None:
    """Header, mark, footer and run header have exactly the published fields in the published order."""
    assert fields("### Header") == list(form.SegmentHeader.__struct_fields__)
    assert fields("Mark of a source") == list(SourceMark.__struct_fields__)
    assert form.VERSIONS == (1, 2)
    assert ChangesHeader.__struct_fields__ == (*form.SegmentHeader.__struct_fields__, "base")
    assert f"| {len(form.SegmentHeader.__struct_fields__)} | `base` | integer |" in PAGE
    assert fields("### Footer") == list(form.SegmentFooter.__struct_fields__)
    assert fields("### Run") == list(form._RunHeader.__struct_fields__)


def test_kinds_are_as_published() -> None:
    """Every kind stands in the table with its number."""
    assert dict(re.findall(r"^\| (\d+) \| `([A-Z0-9_]+)` \|", PAGE, re.MULTILINE)) == {str(int(kind)): kind.name for kind in Kind}


def test_constants_are_as_published() -> None:
    """Magics, limits and the version are the published ones."""
    for magic in (form.HEAD_MAGIC, form.END_MAGIC):
        assert f"`{magic.hex(' ')}`" in PAGE
    assert f"format, version {form.VERSION}\n" in PAGE
    assert form.VERSION == FORMAT
    assert f"at most {form.BLOCK_LIMIT}" in PAGE
    assert f"cut blocks at {form.BLOCK_BYTES} raw bytes" in PAGE
    assert f"header {form.HEADER_LIMIT} bytes, footer {form.FOOTER_LIMIT} bytes, content {form.CONTENT_LIMIT} bytes" in PAGE
    assert f"{form.RUNS_LIMIT} runs" in PAGE
    assert f"a part have at most {ROWS_LIMIT} bytes" in PAGE
    assert f"less than {VOID_REACH} numbers behind" in PAGE
    assert f"the {VOID_REACH} before it" in PAGE


def test_packs_are_as_published() -> None:
    """Fields, magic and bounds."""
    section = PAGE[PAGE.index("## Packs") :].split("\n## ")[0]
    assert f"`{pack.MAGIC.hex(' ')}`" in section
    assert f"at most {pack._INDEX_LIMIT} |" in section
    assert f"at most {pack.MOST_SEGMENTS} of them" in section
    assert f"at most {pack.PACK_LIMIT} bytes" in section
    assert re.findall(r"`([a-z]+)`[ ,]", section.split("index, msgpack:")[1].split("|")[0]) == list(pack.PackIndex.__struct_fields__)


def test_keys_are_as_published() -> None:
    """Keys look as published."""
    assert segment_key(255) == "journal/00000000000000ff"
    assert pack_key(0, 255) == "packs/0000000000000000-00000000000000ff"
    assert part_key("a/b", "id", 7) == "parts/a=2Fb/id/000007.zst"
    assert all(f"`{name}`" in PAGE for name in Identity.__struct_fields__)

"""The picture of `explanation/architecture.md`: the layers as the import contracts have them, and three flows through named modules."""

from __future__ import annotations

import re
import tomllib
from pathlib import Path
from xml.sax.saxutils import escape

ROOT = Path(__file__).parents[1]

FLOWS = {
    "one frame": [
        ("capture/postgres/stream/frame_intake", "takes it off the connection"),
        ("capture/postgres/stream/packer", "packs frames into a run"),
        ("capture/postgres/stream/handover", "says when the run leaves the thread"),
        ("capture/postgres/stream/stream", "gives it to the event loop"),
        ("capture/postgres/source", "appends it to the journal"),
        ("journal/writer", "buffers, commits in groups"),
        ("journal/segment", "encodes a segment"),
        ("store/protocol", "creates the object"),
        ("capture/postgres/stream/feedback", "acknowledges what is durable"),
    ],
    "one watch line": [
        ("capture/kubernetes/reflector", "receives the watch response"),
        ("capture/kubernetes/watch_lines", "cuts it into lines"),
        ("capture/kubernetes/watch_batch", "tells events, bookmarks and errors apart"),
        ("capture/kubernetes/stream_journal", "notes what is known to exist"),
        ("capture/kubernetes/entry_writer", "packs the line into a run"),
        ("capture/kubernetes/outbox", "queues it, bounded in bytes"),
        ("journal/writer", "buffers, commits in groups"),
        ("journal/segment", "encodes a segment"),
        ("store/protocol", "creates the object"),
    ],
    "one --at": [
        ("cli/restore", "parses the command"),
        ("restore", "plans every source, the database first"),
        ("replay/points", "finds the point in the journal"),
        ("replay/postgres/restore", "plans, refuses, carries out"),
        ("replay/postgres/plan/planner", "chooses checkpoint and schema"),
        ("replay/postgres/plan/table_coverage", "judges gaps of tables"),
        ("replay/postgres/decode/transactions", "puts commits in order"),
        ("replay/postgres/fold/database", "folds them into rows"),
        ("replay/postgres/write/to_database", "loads them in one transaction"),
    ],
}
"""What passes through which module of `archiver/`, in this order."""

STACKS = {"archiver": "archiver/", "archiver.capture.postgres": "capture/postgres/", "archiver.replay.postgres": "replay/postgres/"}
"""Container of a layers contract -> its title."""

INK, PALE, LINE, QUIET = "#1f2937", "#eef2ff", "#94a3b8", "#64748b"
STACK_WIDTH, FLOW_WIDTH, GAP, TOP = 200, 272, 16, 46
LAYER_HEIGHT, STEP_HEIGHT = 29, 40


def layers(container: str) -> list[list[str]]:
    """Rows of the layers contract about ``container``, highest first; modules of one row do not import each other."""
    contracts = tomllib.loads((ROOT / "pyproject.toml").read_text(encoding="utf-8"))["tool"]["importlinter"]["contracts"]
    (found,) = [contract["layers"] for contract in contracts if contract.get("containers") == [container]]
    return [[re.sub(r"[()\s]", "", module) for module in re.split(r"[|:]", row)] for row in found]


def picture() -> str:
    """The SVG."""
    parts: list[str] = []
    x = GAP
    tallest = 0
    for container, title in STACKS.items():
        rows = layers(container)
        parts += _stack(x, title, rows)
        tallest = max(tallest, len(rows) * LAYER_HEIGHT)
        x += STACK_WIDTH + GAP
    for title, steps in FLOWS.items():
        parts += _flow(x, title, steps)
        tallest = max(tallest, len(steps) * (STEP_HEIGHT + 10))
        x += FLOW_WIDTH + GAP
    height = TOP + tallest + 28
    head = [
        f'<svg xmlns="http://www.w3.org/2000/svg" viewBox="0 0 {x} {height}" font-family="Helvetica, Arial, sans-serif" font-size="12.5">',
        "<!-- Written by docs/picture.py from the import contracts: change those, then run `make docs`. -->",
        f'<rect width="{x}" height="{height}" fill="#ffffff"/>',
        _text(
            GAP,
            height - 10,
            "Left: a row may import the rows below it only. Right: the way through the modules.",
            QUIET,
        ),
    ]
    return "\n".join([*head, *parts, "</svg>"]) + "\n"


def _stack(x: int, title: str, rows: list[list[str]]) -> list[str]:
    parts = [_text(x, TOP - 16, title, INK, bold=True)]
    for number, modules in enumerate(rows):
        y = TOP + number * LAYER_HEIGHT
        lengths = [len(module) + 3 for module in modules]
        left = float(x)
        for module, length in zip(modules, lengths, strict=True):
            width = (STACK_WIDTH - 4 * (len(modules) - 1)) * length / sum(lengths)
            parts += [_box(left, y, width, LAYER_HEIGHT - 5), _text(left + width / 2, y + 16, module, INK, middle=True, size=11.5)]
            left += width + 4
    return parts


def _flow(x: int, title: str, steps: list[tuple[str, str]]) -> list[str]:
    parts = [_text(x, TOP - 16, title, INK, bold=True)]
    for number, (module, does) in enumerate(steps):
        y = TOP + number * (STEP_HEIGHT + 10)
        parts += [
            _box(x, y, FLOW_WIDTH, STEP_HEIGHT),
            _text(x + 10, y + 17, f"{module}.py", INK),
            _text(x + 10, y + 32, does, QUIET),
        ]
        if number:
            middle = x + FLOW_WIDTH / 2
            parts.append(f'<path d="M{middle:g} {y - 10} v9 m-4 -5 l4 5 l4 -5" fill="none" stroke="{LINE}" stroke-width="1.5"/>')
    return parts


def _box(x: float, y: int, width: float, height: int) -> str:
    return f'<rect x="{x:g}" y="{y}" width="{width:.1f}" height="{height}" rx="4" fill="{PALE}" stroke="{LINE}"/>'


def _text(x: float, y: int, text: str, color: str, *, bold: bool = False, middle: bool = False, size: float = 0) -> str:
    more = ' font-weight="bold" font-size="15"' if bold else ""
    more += ' text-anchor="middle"' if middle else ""
    more += f' font-size="{size:g}"' if size else ""
    return f'<text x="{x:.1f}" y="{y}" fill="{color}"{more}>{escape(text)}</text>'

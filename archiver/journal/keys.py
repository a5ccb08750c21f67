"""The only place that spells object keys."""

from __future__ import annotations

import re

IDENTITY = "archive.json"
"""Identity of the archive."""
SEGMENTS = "journal/"
"""Prefix of all segments, and of nothing else."""
PARTS = "parts/"
"""Prefix of objects that entries or checkpoints name."""
CHECKPOINTS = "checkpoints/"
"""Prefix of folded checkpoints, which can be made anew from the journal."""
HISTORY = "history/"
"""Prefix of history files, which can be made anew from the journal."""
SIGNPOSTS = "signposts/"
"""Prefix of objects whose keys alone say how far the journal had grown."""
PACKS = "packs/"
"""Prefix of packs: copies of many small segments in one object, which can be made anew from the journal."""

BOUNDARIES = "retention/boundaries/"
"""Prefix of the boundaries before which segments were retired. They are never deleted: see ``boundary``."""
PLANS = "retention/plans/"
"""Prefix of plans of what is to be retired."""
HOLDS = "retention/holds/"
"""Prefix of legal holds: while there is any object here, nothing is retired."""
UNDO = "undo/"
"""Prefix of what restores into living clusters were about to write, so that it can be undone."""

_SEGMENT = re.compile(r"journal/([0-9a-f]{16})")
_SIGNPOST = re.compile(r"signposts/([0-9a-f]{16})")
_PACK = re.compile(r"packs/([0-9a-f]{16})-([0-9a-f]{16})")
_CHECKPOINT = re.compile(r"([0-9a-f]{16})\.json")
_COMMIT = re.compile(r"history/[^/]+/_delta_log/([0-9]{20})\.json")
_LOG_CHECKPOINT = re.compile(r"history/[^/]+/_delta_log/([0-9]{20})\.checkpoint\.parquet")
_SUMMARY = re.compile(r"history/[^/]+/_summaries/([0-9]{20})\.json")
_BOUNDARY = re.compile(r"retention/boundaries/([0-9a-f]{16})\.json")
_UNSAFE = re.compile(rb"[^A-Za-z0-9._-]")


def segment_key(number: int) -> str:
    """Key of segment ``number``: keys sort as the numbers do."""
    return f"{SEGMENTS}{number:016x}"


def number_of(key: str) -> int | None:
    """Number of the segment under ``key``; ``None`` when no segment has such a key."""
    match = _SEGMENT.fullmatch(key)
    return int(match[1], 16) if match else None


def signpost_key(number: int) -> str:
    """Key of the signpost to segment ``number``. Keys sort backwards: a listing begins with the newest."""
    return f"{SIGNPOSTS}{(1 << 64) - 1 - number:016x}"


def signpost_number(key: str) -> int | None:
    """Number of the segment that the signpost under ``key`` names; ``None`` when no signpost has such a key."""
    match = _SIGNPOST.fullmatch(key)
    return (1 << 64) - 1 - int(match[1], 16) if match else None


def pack_key(first: int, last: int) -> str:
    """Key of the pack of segments ``first`` to ``last``: keys sort as the first ones do."""
    return f"{PACKS}{first:016x}-{last:016x}"


def packs_behind(first: int) -> str:
    """Sorts before the keys of packs that begin with segment ``first`` or later, and behind all others."""
    return f"{PACKS}{first:016x}"


def pack_span(key: str) -> tuple[int, int] | None:
    """The first and the last segment of the pack under ``key``; ``None`` when no pack has such a key."""
    match = _PACK.fullmatch(key)
    return (int(match[1], 16), int(match[2], 16)) if match else None


def undo_key(entry: int) -> str:
    """Key of the record of the restore whose mark is ``entry``. Keys sort backwards: a listing begins with the newest."""
    return f"{UNDO}{(1 << 64) - 1 - entry:016x}.json"


def part_prefix(source: str, identity: str) -> str:
    """Prefix of the parts of one baseline or table snapshot, ``identity``, of ``source``.

    Bytes of ``source`` that a key may not hold are written ``=XX``; one source is always one level of the key.
    """
    return f"{PARTS}{_level(source)}/{identity}/"


def part_key(source: str, identity: str, number: int) -> str:
    """Key of part ``number`` (0, 1, 2, …) of one baseline or table snapshot of ``source``."""
    return f"{part_prefix(source, identity)}{number:06d}.zst"


def checkpoint_prefix(source: str) -> str:
    """Prefix of the folded checkpoints of ``source``."""
    return f"{CHECKPOINTS}{_level(source)}/"


def checkpoint_key(source: str, entry: int) -> str:
    """Key of the folded checkpoint of ``source`` as of ``entry``. Keys sort backwards: a listing begins with the newest."""
    return f"{checkpoint_prefix(source)}{(1 << 64) - 1 - entry:016x}.json"


def checkpoint_entry(source: str, key: str) -> int | None:
    """The entry of the folded checkpoint under ``key``; ``None`` when no checkpoint of ``source`` has such a key."""
    match = _CHECKPOINT.fullmatch(key.removeprefix(checkpoint_prefix(source)))
    return (1 << 64) - 1 - int(match[1], 16) if match else None


def boundary_key(number: int) -> str:
    """Key of boundary ``number`` (1, 2, 3, …). Keys sort backwards: a listing begins with the newest."""
    return f"{BOUNDARIES}{(1 << 64) - 1 - number:016x}.json"


def boundary_number(key: str) -> int | None:
    """Number of the boundary under ``key``; ``None`` when it is none."""
    match = _BOUNDARY.fullmatch(key)
    return (1 << 64) - 1 - int(match[1], 16) if match else None


def plan_key(identity: str) -> str:
    """Key of a plan of what is to be retired."""
    return f"{PLANS}{identity}.json"


def hold_key(name: str) -> str:
    """Key of the legal hold of that name."""
    return f"{HOLDS}{_level(name)}.json"


def history_prefix(source: str) -> str:
    """Prefix of the history files of ``source``: a Delta table."""
    return f"{HISTORY}{_level(source)}/"


def history_counts_key(source: str, path: str) -> str:
    """Key of what history file ``path`` of ``source`` counts to."""
    return f"{history_prefix(source)}_counts/{path}.json.zst"


def history_commit_prefix(source: str) -> str:
    """Prefix of the commits of its log."""
    return f"{history_prefix(source)}_delta_log/"


def history_commit_key(source: str, version: int) -> str:
    """Key of commit ``version`` of its log."""
    return f"{history_commit_prefix(source)}{version:020d}.json"


def history_commit_version(key: str) -> int | None:
    """Version of the commit under ``key``; ``None`` when it is none."""
    match = _COMMIT.fullmatch(key)
    return int(match[1]) if match else None


def history_checkpoint_key(source: str, version: int) -> str:
    """Key of the checkpoint of its log that adds commits up to ``version`` up."""
    return f"{history_commit_prefix(source)}{version:020d}.checkpoint.parquet"


def history_checkpoint_version(key: str) -> int | None:
    """Version of the checkpoint under ``key``; ``None`` when it is none."""
    match = _LOG_CHECKPOINT.fullmatch(key)
    return int(match[1]) if match else None


def history_summary_prefix(source: str) -> str:
    """Prefix of the summaries of its log."""
    return f"{history_prefix(source)}_summaries/"


def history_summary_key(source: str, version: int) -> str:
    """Key of the summary of its log up to commit ``version``."""
    return f"{history_summary_prefix(source)}{version:020d}.json"


def history_summary_version(key: str) -> int | None:
    """Version of the summary under ``key``; ``None`` when it is none."""
    match = _SUMMARY.fullmatch(key)
    return int(match[1]) if match else None


def _level(source: str) -> str:
    return _UNSAFE.sub(lambda match: b"=%02X" % match[0][0], source.encode()).decode()

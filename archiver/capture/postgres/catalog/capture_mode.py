"""How a table can be captured without ever making the source refuse a write; a pure decision.

A table published for UPDATE needs a replica identity that the server can use, else UPDATE and DELETE fail at the source (SQLSTATE 55000,
42P10). What is said here about versions was measured on 15, 16 and 18.
"""

from __future__ import annotations

from collections.abc import Collection, Sequence
from typing import Literal, NamedTuple

from archiver.postgres.records import Column, Mode

Cause = Literal[
    "",
    "partitioned",
    "unlogged",
    "out_of_scope",
    "no_identity",
    "identity_nothing",
    "identity_index_lost",
    "generated_in_identity",
    "redacted_needed",
    "redacted_full",
]
"""Why a table is not captured whole; empty when it is."""


class CaptureMode(NamedTuple):
    """Mode of a table, the attnums that identify its rows in UPDATE and DELETE, and why it is not more."""

    mode: Mode
    key: list[int]
    cause: Cause


def choose_mode(
    *,
    kind: str,
    persistence: str,
    identity: str,
    index_key: Sequence[int] | None,
    columns: Sequence[Column],
    covered: bool,
    server_version: int,
    hidden: Collection[int] = (),
    needed: Collection[int] = (),
) -> CaptureMode:
    """Decide for one relation.

    ``index_key``: key columns of the index that the identity means (valid, unique, immediate), None without one.
    ``covered``: the settings want it. ``server_version``: ``server_version_num``. ``hidden``: columns that may not be captured;
    ``needed``: those without which no row can be put back, beside NOT NULL ones and the key.
    """
    if not covered:
        return CaptureMode("excluded", [], "out_of_scope")
    if kind == "p":
        return CaptureMode("excluded", [], "partitioned")
    if persistence != "p":
        return CaptureMode("excluded", [], "unlogged")
    if hidden:
        # A table of which too much is hidden is left alone, whole: published for UPDATE, it would make the source refuse that.
        left = [column for column in columns if not column.generated and column.attnum not in hidden]
        required = {column.attnum for column in columns if column.not_null}
        if not left or required.union(index_key or (), needed) & set(hidden):
            return CaptureMode("excluded", [], "redacted_needed")
        if identity == "f":
            return CaptureMode("excluded", [], "redacted_full")
    generated = {column.attnum for column in columns if column.generated}
    if identity == "f":
        # 18 refuses the UPDATE unless generated columns are published; before, the old row simply came without them.
        if generated and server_version >= 180000:
            return CaptureMode("insert", [], "generated_in_identity")
        return CaptureMode("full", [], "")
    if identity == "n":
        return CaptureMode("insert", [], "identity_nothing")
    if index_key is None:
        return CaptureMode("insert", [], "identity_index_lost" if identity == "i" else "no_identity")
    if generated & set(index_key):
        # 18 refuses the UPDATE; before, the key came without the column, which identifies nothing.
        return CaptureMode("insert", [], "generated_in_identity")
    return CaptureMode("key", list(index_key), "")

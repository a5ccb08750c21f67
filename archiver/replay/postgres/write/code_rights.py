"""Whose rights the functions of a dump may get while it is restored: said before anything runs. Pure."""

from __future__ import annotations

from collections.abc import Collection, Iterator

from archiver.replay.postgres.write.dump_items import Item, Items

_FUNCTIONS = frozenset({"AGGREGATE", "FUNCTION", "PROCEDURE"})
_CALLERS = frozenset({"CHECK CONSTRAINT", "CONSTRAINT", "INDEX", "MATERIALIZED VIEW", "STATISTICS", "TABLE"})
"""Kinds whose making or filling can call functions. The server calls them with the rights of whoever owns the object."""


def code_with_rights(items: Items, restorer: str, superusers: Collection[str], *, no_owner: bool) -> list[str]:
    """What to say of functions of others that may run as a superuser or as ``restorer``; empty when none may.

    Roles are known by name: a function belongs to somebody trusted if that name is a superuser of the target, or ``restorer``. What is
    said may be too much, since a table's defaults count among what calls functions; it is never too little.
    """
    trusted = {restorer, *superusers}
    everything = {item.number: item for item in items}
    suspects = {item.number for item in everything.values() if item.kind in _FUNCTIONS and item.owner not in trusted}
    found: dict[int, Item] = {}
    callers: list[Item] = []
    if suspects:
        for item in everything.values():
            if item.kind in _CALLERS and (no_owner or item.owner in trusted):
                reached = suspects.intersection(_needed(item, everything))
                if reached:
                    callers.append(item)
                    found |= {number: everything[number] for number in reached}
    if not callers:
        return []
    first = found[min(found)]
    owner = restorer if no_owner else callers[0].owner
    remedy = "; --no-owner gives them to whoever restores: do it as a role that is no superuser" if no_owner and owner in superusers else ""
    said = f"{len(found)} functions, first {first.schema}.{first.tag} of {first.owner}, may run with the rights of {owner}"
    return [f"{said}, who owns what calls them, first {callers[0].name}{remedy}"]


def _needed(item: Item, everything: dict[int, Item]) -> Iterator[int]:
    """All that it needs, at any distance."""
    seen = {item.number}
    waiting = [item]
    while waiting:
        for number in waiting.pop().needs:
            if number not in seen:
                seen.add(number)
                yield number
                if number in everything:
                    waiting.append(everything[number])

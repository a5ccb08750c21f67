"""Makes the objects of a schema in the target, one by one: what cannot be made at once is tried again when the others are there."""

from __future__ import annotations

import re
from collections.abc import Awaitable, Callable, Iterator, Sequence
from typing import TYPE_CHECKING

import psycopg

from archiver.errors import Refused
from archiver.postgres.calling_code import ATTACHED, CHECKED, JOINED, PLANNED_BESIDE
from archiver.postgres.connecting import OWN_PATH
from archiver.replay.postgres.plan.plan import LeftOutItem
from archiver.replay.postgres.write.called_functions import CalledFunctions
from archiver.replay.postgres.write.constraint_names import name_as_usual
from archiver.replay.postgres.write.domain_checks import DomainChecks
from archiver.replay.postgres.write.dump_items import MADE_BY_OWNER, Item, Items
from archiver.replay.postgres.write.queued_code import FORGET_CURSORS, queued_triggers, refuse_queued
from archiver.replay.postgres.write.search_paths import SearchPaths
from archiver.replay.postgres.write.target_database import explained, is_fatal, pin, pin_for_schema, pinning
from archiver.replay.postgres.write.unknown_parameters import UNRECOGNIZED, without_parameter

if TYPE_CHECKING:
    from archiver.replay.postgres.write.target_database import Connection

_TOGETHER = 50
"""Items that are made under one savepoint while none of them fails."""
_MOST_PARAMETERS = 20
_BROKEN_BY_ROWS = {"FK CONSTRAINT": "23503", "CHECK CONSTRAINT": "23514"}
_UNCHECKABLE = "0A000"
"""Values of a domain inside those of other types, for which the server does not look at rows."""
_CALL_NOTHING = frozenset({"CHECK CONSTRAINT", "COMMENT", "EVENT TRIGGER", "PUBLICATION", "SECURITY LABEL"})
"""Kinds that hold no values of domains, or are made by their owners."""
_OTHERS_CODE = "functions of other roles, in indexes or statistics of the tables, would be called with the rights of its owner"
_UNCHECKED = re.compile(rb"NOT (?:VALID|ENFORCED)\s*;\s*$")
_NOT_FOUND = ("42P01", "42883", "42704", "42703", "3F000", "42725")
"""Undefined table, function, object, column, schema; ambiguous function: may depend on the ``search_path``."""


class SchemaWriter:
    """Items of one restore. Strict: the first that fails ends the restore."""

    def __init__(self, connection: Connection, items: Items, paths: SearchPaths, *, strict: bool, written_by: str = "") -> None:
        """``written_by``: which program wrote the dump, of which server."""
        self._written_by = f" ({written_by})" if written_by else ""
        self._connection, self._items, self._paths, self._strict = connection, items, paths, strict
        self._domains = DomainChecks(connection, items.encoding)
        self._waiting: list[tuple[Item, psycopg.Error]] = []
        self._weaker: list[LeftOutItem] = []
        self._everything = {item.number: item for item in items}
        self._called = CalledFunctions(connection, self._everything, items.encoding)
        self._unchecked: set[int] = set()
        # Functions of users that are called may hold cursors open, and set how statements of ours are read.
        self._reset = FORGET_CURSORS + pinning(connection, items.encoding, backslashes=items.backslashes)
        self.made = 0
        """How many items are there."""
        self.notes: list[str] = []

    async def make(self, items: Sequence[Item], doing: str, *, together: bool = False) -> None:
        """Make ``items`` in their order; those that fail wait. ``together``: cheap ones, of which nearly all succeed.

        Raises ``Unavailable``; where strict what ``explained`` says of the first failure.
        """
        await pin_for_schema(self._connection, self._items.encoding, backslashes=self._items.backslashes)
        for some in _batches(items, _TOGETHER if together and not self._strict else 1, self._called):
            at_once = len(some) > 1 and not await self._may_call(some)
            if at_once and await self._attempt(b"".join(item.runnable(item.sql) + self._reset for item in some), doing) is None:
                self.made += len(some)
                self.notes += await name_as_usual(self._connection, some, self._items.encoding)
                continue
            for item in some:
                await self._make(item, doing)
        await pin(self._connection)

    async def make_alone(self, item: Item) -> bool:
        """Make one item in a transaction of its own; whether it succeeded. Raises ``Unavailable``."""
        before = self.made
        async with self._connection.transaction():
            await self.make([item], "creating indexes")
            await refuse_queued(self._connection)
        return self.made > before

    async def check_domains(self, doing: str) -> None:
        """Put the checks of domains in place, once everything is there that values of theirs stand in."""
        await self._domains.release()
        await self._called.release()
        await self.make([*self._domains.taken, *self._items.domains], doing)

    async def again(self, doing: str, *, last: bool = False, domains: bool = False) -> None:
        """Try those that wait, as long as one more succeeds. ``last``: also in weaker forms, since nothing more will come.

        ``domains``: their checks are in place, so that only what holds no values is tried.
        """
        waiting = self._waiting
        if domains:
            self._waiting = [each for each in waiting if each[0].kind in _CALL_NOTHING]
        await self._try_again(doing, last=last)
        if domains:
            self._waiting = [each for each in waiting if each[0].kind not in _CALL_NOTHING] + self._waiting

    async def _try_again(self, doing: str, *, last: bool) -> None:
        await pin_for_schema(self._connection, self._items.encoding, backslashes=self._items.backslashes)
        while await self._round(doing, self._make):
            pass
        if last and self._waiting:
            for form in (self._in_a_path, self._not_validated, self._without_parameters):
                while await self._round(doing, form):
                    # What has become possible by it needs no weaker form.
                    await self._round(doing, self._make)
        await pin(self._connection)

    @property
    def first_error(self) -> psycopg.Error | None:
        """Why the first of those that wait failed."""
        return self._waiting[0][1] if self._waiting else None

    def left_out(self) -> tuple[list[LeftOutItem], list[LeftOutItem]]:
        """What was not made, or in a weaker form, with its SQL: what rows need, and all else."""
        missing = {item.number: item for item, _ in self._waiting}
        pre = {item.number for item in self._items.pre}
        before: list[LeftOutItem] = []
        after = list(self._weaker)
        for item, error in self._waiting:
            reason = explained(error, f"creating {item.kind}").message.partition(": ")[2]
            needs = [missing[number].name for number in dict.fromkeys(item.needs) if number in missing and number != item.number]
            if needs:
                reason += f"; it needs {needs[0]}, which is missing too"
            (before if item.number in pre else after).append(LeftOutItem(item.name, reason, self._items.text(item.sql)))
        return before, after

    async def _round(self, doing: str, attempt: _Form) -> bool:
        """Whether one of those that wait was made."""
        waiting, self._waiting = self._waiting, []
        for item, error in waiting:
            await attempt(item, doing, error)
        return len(self._waiting) < len(waiting)

    async def _make(self, item: Item, doing: str, _: psycopg.Error | None = None) -> None:
        script = await self._script(item)
        async with self._called.harmless(item):
            error = await self._attempt(script, f"{doing}: {item.name}")
        if error is None:
            await self._is_there(item)
        else:
            self._waiting.append((item, error))

    async def _is_there(self, item: Item) -> None:
        self.made += 1
        await self._domains.guard(item)
        self.notes += await name_as_usual(self._connection, [item], self._items.encoding)
        if item.number in self._unchecked:
            self._weaker.append(LeftOutItem(item.name, f"NOT VALID, because {_OTHERS_CODE}", self._items.text(_validation(item))))

    async def _in_a_path(self, item: Item, doing: str, before: psycopg.Error) -> None:
        """As its maker made it: functions and operators of its own text may be found by the maker's ``search_path`` alone."""
        if before.sqlstate in _NOT_FOUND:
            for path in await self._paths.of(item.schema, item.owner):
                script = await self._script(item, f"{path}, pg_temp")
                async with self._called.harmless(item):
                    within = self._items.written(f"{path}, pg_temp")
                    error = await self._attempt(_in_path(within) + script + b"\n" + _in_path(OWN_PATH.encode()), doing)
                if error is None:
                    await self._is_there(item)
                    self.notes.append(f"{item.name} was made with search_path = {path}, which it needs")
                    return
        self._waiting.append((item, before))

    async def _script(self, item: Item, path: str = OWN_PATH) -> bytes:
        """What makes it, so that no function that stands beside it gets more rights than its owner has."""
        if await self._may_call([item]) and await self._asks(ATTACHED, (item.schema, item.tag)):
            return item.runnable(item.sql, self._items.written(path), role=item.checked_as)
        if item.checked_as and item.kind == "INDEX ATTACH" and await self._asks(JOINED):
            return item.runnable(item.sql, self._items.written(path), role=item.checked_as)
        checks_rows = item.kind == "FK CONSTRAINT" and not _UNCHECKED.search(item.sql)
        if item.checked_as and checks_rows and await self._asks(JOINED):
            # Rows are compared by a query. The constraint itself can need rights that its owner has no more. (Of a partitioned table the
            # server cannot check it later, before 18.)
            # Functions that ran while rows were written can have made statistics before their time.
            if await self._asks(PLANNED_BESIDE, (*self._tables_of(item), item.owner)):
                if self._strict:
                    raise Refused(f"{item.name} cannot be checked: {_OTHERS_CODE}", hint="leave out --strict: then it is made NOT VALID")
                self._unchecked.add(item.number)
                return _weaker(item)
            if item.sql.startswith(b"ALTER TABLE ONLY "):
                return _weaker(item) + item.runnable(_validation(item), self._items.written(path), role=item.checked_as)
            return item.runnable(item.sql, self._items.written(path), role=item.checked_as)
        return item.runnable(item.sql, self._items.written(path))

    def _tables_of(self, item: Item) -> tuple[list[str], list[str]]:
        """Schemas and names of the tables that it needs, or whose constraints and indexes."""
        needed = [self._everything[number] for number in item.needs if number in self._everything]
        needed += [self._everything[number] for each in needed for number in each.needs if number in self._everything]
        tables = [each for each in needed if each.kind == "TABLE"]
        return [table.schema for table in tables], [table.tag for table in tables]

    async def _may_call(self, items: Sequence[Item]) -> bool:
        """Whether one of them makes a partition while checks of tables call code of users."""
        return any(item.checked_as and _attaches(item) for item in items) and await self._asks(CHECKED)

    async def _asks(self, query: str, values: tuple[str | list[str], ...] = ()) -> bool:
        cursor = await self._connection.execute(query.encode(), values or None)
        return await cursor.fetchone() == (True,)

    async def _not_validated(self, item: Item, doing: str, before: psycopg.Error) -> None:
        """A constraint that the rows break, as one that holds for new rows."""
        broken = before.sqlstate == _BROKEN_BY_ROWS.get(item.kind) or (item.run_as and before.sqlstate == _UNCHECKABLE)
        if broken and await self._attempt(item.runnable(_weaker(item)), doing) is None:
            self.made += 1
            reason = explained(before, f"creating {item.kind}").message.partition(": ")[2]
            why = "the server cannot check it" if before.sqlstate == _UNCHECKABLE else "rows break it"
            self._weaker.append(LeftOutItem(item.name, f"NOT VALID, because {why}: {reason}", self._items.text(_validation(item))))
            return
        self._waiting.append((item, before))

    async def _without_parameters(self, item: Item, doing: str, before: psycopg.Error) -> None:
        """Without storage parameters that the target does not know."""
        script, error = item.sql, before
        left: list[str] = []
        while error.sqlstate == UNRECOGNIZED and len(left) < _MOST_PARAMETERS:
            shorter, name = without_parameter(item.kind, script, error.diag.message_primary or "")
            if not name:
                break
            left.append(name)
            async with self._called.harmless(item):
                failed = await self._attempt(shorter, doing)
            if failed is None:
                self.made += 1
                self.notes.append(f"{item.name} was made without {', '.join(left)}, which the target does not know{self._written_by}")
                return
            script, error = shorter, failed
        self._waiting.append((item, before))

    async def _attempt(self, script: bytes, doing: str) -> psycopg.Error | None:
        """Run it; nothing of it stays where it fails. Raises ``Unavailable``, and everything where strict."""
        try:
            if not self._strict:
                # By itself: a script that cannot be parsed is not begun.
                await self._connection.execute(b"SAVEPOINT item")
            await self._connection.execute(script + b"\n;" + self._reset)
            queued = await queued_triggers(self._connection) if self._calls(script) else None
            if queued is not None:
                raise queued
            if not self._strict:
                await self._connection.execute(b"RELEASE item")
        except psycopg.Error as error:
            failed = explained(error, doing)
            if self._strict or is_fatal(failed):
                raise failed from error
            await self._connection.execute(b"ROLLBACK TO item")
            await self._connection.execute(self._reset)
            return error
        return None

    def _calls(self, script: bytes) -> bool:
        """Whether it may call functions of users. What is missed here ends the restore before COMMIT."""
        return self._domains.guarding or self._called.calling or MADE_BY_OWNER in script


_Form = Callable[[Item, str, psycopg.Error], Awaitable[None]]


def _batches(items: Sequence[Item], size: int, called: CalledFunctions) -> Iterator[Sequence[Item]]:
    """In their order. Before a domain is used it is made harmless, as is what a table calls before that is made; and before partitions are
    made their checks are looked at.
    """
    batch: list[Item] = []
    calls = False
    for item in items:
        called_before, calls = calls, bool(called.of(item))
        alone = calls or called_before or "DOMAIN" in (item.kind, batch[-1].kind if batch else "")
        if batch and (len(batch) == size or alone or _attaches(item) != _attaches(batch[-1])):
            yield batch
            batch = []
        batch.append(item)
    if batch:
        yield batch


def _attaches(item: Item) -> bool:
    return item.kind == "TABLE ATTACH"


def _weaker(item: Item) -> bytes:
    return re.sub(rb";\s*$", b" NOT VALID;\n", item.sql)


def _in_path(path: bytes) -> bytes:
    literal = b"E'" + path.replace(b"\\", b"\\\\").replace(b"'", b"''") + b"'"
    return b"SELECT pg_catalog.set_config('search_path', " + literal + b", true);\n"


def _validation(item: Item) -> bytes:
    match = re.match(rb"(?s)(ALTER (?:TABLE|DOMAIN) .*?)\n\s+ADD CONSTRAINT (\"(?:[^\"]|\"\")*\"|\w+) ", item.sql)
    return match[1] + b" VALIDATE CONSTRAINT " + match[2] + b";\n" if match else item.sql

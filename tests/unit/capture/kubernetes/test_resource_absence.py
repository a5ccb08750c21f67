"""When a resource counts as gone."""

from __future__ import annotations

from collections.abc import Mapping

import msgspec

from archiver.capture.kubernetes.discovery import Discovery
from archiver.capture.kubernetes.resource_absence import ResourceAbsence
from archiver.capture.kubernetes.stream_scope import StreamScope
from archiver.errors import Unavailable
from archiver.kubernetes.answer import Answer
from archiver.kubernetes.api import Api
from archiver.kubernetes.records import Resource

THINGS = Resource("g.io", "v1", "things", "Thing", namespaced=True)
SCOPE = StreamScope.of("kube", THINGS)
NOTHING = Discovery([], frozenset())


class ScriptedApi(Api):
    """Answers every GET with one status; 0: not at all."""

    def __init__(self, status: int) -> None:
        self.status = status
        self.asked = 0

    async def get(self, path: str, params: Mapping[str, str] | None = None, *, seconds: float = 0, most: int = 0) -> Answer:
        self.asked += 1
        if not self.status:
            raise Unavailable("down")
        return Answer(self.status, b"", 0)


async def test_what_the_server_says_it_does_not_serve_is_gone() -> None:
    """What it serves is not, nor is anything gone because nobody answers."""
    assert [await ResourceAbsence(ScriptedApi(status)).ended(SCOPE, NOTHING) for status in (404, 200, 500, 0)] == [
        True,
        False,
        False,
        False,
    ]


async def test_without_the_right_to_read_several_looks_must_do() -> None:
    """In a row: once discovery names it, counting begins anew."""
    absence = ResourceAbsence(ScriptedApi(403))
    assert [await absence.ended(SCOPE, NOTHING) for _ in range(2)] == [False, False]
    absence.served(SCOPE.stream)
    assert [await absence.ended(SCOPE, NOTHING) for _ in range(3)] == [False, False, True]


async def test_of_a_group_that_did_not_answer_nothing_is_concluded() -> None:
    """The server is not even asked."""
    api = ScriptedApi(404)
    assert not await ResourceAbsence(api).ended(SCOPE, Discovery([], frozenset({"g.io"})))
    assert api.asked == 0


async def test_a_resource_in_another_scope_is_gone_although_its_path_answers() -> None:
    """All namespaces of a namespaced one look like a cluster-scoped one."""
    elsewhere = msgspec.structs.replace(THINGS, namespaced=False)
    assert await ResourceAbsence(ScriptedApi(200)).ended(SCOPE, Discovery([elsewhere], frozenset()))


async def test_another_version_takes_the_place_of_one_that_is_gone() -> None:
    """While its group does not answer, only when the server says so."""
    silent = Discovery([], frozenset({"g.io"}))
    assert await ResourceAbsence(ScriptedApi(200)).replaced(SCOPE, NOTHING)
    assert not await ResourceAbsence(ScriptedApi(200)).replaced(SCOPE, silent)
    assert await ResourceAbsence(ScriptedApi(404)).replaced(SCOPE, silent)

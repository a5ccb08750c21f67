"""Times that lie within or under a step of the archiver's clock, in forged journals: every answer for them says so."""

from __future__ import annotations

import json
import subprocess
import sys
from pathlib import Path

import msgspec
import pytest

from archiver.clock import to_text
from archiver.history.object_at import object_at
from archiver.history.objects import ObjectRef
from archiver.journal.entry import Kind, Run
from archiver.journal.reader import Reader
from archiver.journal.records import ClockStep
from archiver.kubernetes.records import Listing, Resource, Watch
from archiver.replay.kubernetes.folded_stream import Cut
from tests.simulation.loop import inline, play
from tests.unit.journal.forge import Forgery

SECOND = 1_000_000
HOUR = 3600 * SECOND
NOON = 1_800_000_000 * SECOND
NAME = "kube/g.io/things"
THING = Resource("g.io", "v1", "things", "Thing", True)


class Story:
    """A journal of one stream, whose object changes now and then."""

    def __init__(self) -> None:
        self.forgery = Forgery()
        self.forgery.open()
        self.version = 10
        watch = msgspec.json.encode(Watch("ca=x uid=y", "https://x", THING, "", 0, "", "start"))
        self.add(Run.of(NAME, Kind.K8S_WATCH, [watch], observed=NOON))
        self.add(Run.of(NAME, Kind.K8S_ITEM, [self.body()], observed=NOON))
        listing = msgspec.json.encode(Listing(THING, "", 0, "10", 1, 2, "start"))
        self.add(Run.of(NAME, Kind.CHECKPOINT, [listing], observed=NOON, position="10"))

    def body(self) -> bytes:
        metadata = {"name": "a", "namespace": "n", "uid": "u", "resourceVersion": str(self.version)}
        return json.dumps({"metadata": metadata, "spec": {"turn": self.version}}).encode()

    def add(self, run: Run) -> None:
        self.forgery.add(run, time=max(self.forgery.end.time + 1, run.observed))

    def change(self, *times: int) -> None:
        for time in times:
            self.version += 1
            event = b'{"type":"MODIFIED","object":' + self.body() + b"}"
            self.add(Run.of(NAME, Kind.K8S_EVENT, [event], observed=time, position=str(self.version)))

    def step(self, time: int, by: int, *, believed: bool = False, reason: str = "set", source: str = "") -> None:
        body = msgspec.json.encode(ClockStep(time, by, believed, reason))
        self.add(Run.of(source, Kind.CLOCK, [body], observed=time))

    def said(self, cut: Cut) -> tuple[bool, bool]:
        """Whether the clock is a gap, and whether it is a note, at ``cut``."""

        async def ask() -> tuple[bool, bool]:
            known = await object_at(Reader(self.forgery.store, offload=inline), "kube", ObjectRef("things", "n", "a"), cut)
            return any("clock" in text for text in known.gaps), any("clock" in text for text in known.notes)

        return play(ask())

    def at(self, time: int) -> tuple[bool, bool]:
        return self.said(Cut(time=time))


DOUBTED, NOTED, SILENT = (True, False), (False, True), (False, False)


@pytest.fixture
def back() -> Story:
    """At noon and an hour the clock, which had been set back by half an hour ten minutes before, is believed."""
    story = Story()
    story.change(NOON + HOUR // 2, NOON + HOUR - 601 * SECOND)
    story.step(NOON + HOUR - 600 * SECOND, -HOUR // 2)
    story.change(NOON + HOUR - SECOND)
    story.step(NOON + HOUR // 2, -HOUR // 2, believed=True)
    story.change(NOON + HOUR // 2 + 60 * SECOND, NOON + HOUR, NOON + 2 * HOUR)
    return story


@pytest.mark.parametrize(
    ("minutes", "said"), [(10, SILENT), (29, SILENT), (31, DOUBTED), (45, DOUBTED), (55, DOUBTED), (61, SILENT), (110, SILENT)]
)
def test_times_that_were_twice_are_doubtful(back: Story, minutes: int, said: tuple[bool, bool]) -> None:
    """Those before and behind them are not."""
    assert back.at(NOON + minutes * 60 * SECOND) == said


def test_a_point_that_is_an_entry_is_not_a_matter_of_clocks(back: Story) -> None:
    """The journal's order stands, whatever its times are."""
    assert back.said(Cut(seq=6)) == SILENT
    assert back.said(Cut()) == SILENT


def test_times_that_never_were_are_doubtful() -> None:
    """Set forward and believed: from where it was noticed to where the new course began."""
    story = Story()
    story.change(NOON + HOUR - 650 * SECOND)
    story.step(NOON + HOUR - 600 * SECOND, 5 * HOUR)
    story.change(NOON + HOUR - SECOND)
    story.step(NOON + 6 * HOUR, 5 * HOUR, believed=True)
    story.change(NOON + 6 * HOUR + SECOND, NOON + 8 * HOUR)
    assert [story.at(NOON + minutes * 60 * SECOND) for minutes in (49, 51, 61, 180, 359, 362)] == [
        SILENT,
        DOUBTED,
        DOUBTED,
        DOUBTED,
        DOUBTED,
        SILENT,
    ]


def test_a_clock_that_came_back_is_a_note() -> None:
    """What was written meanwhile by the old course is right."""
    story = Story()
    story.change(NOON + 60 * SECOND)
    story.step(NOON + 100 * SECOND, 3 * HOUR)
    story.change(NOON + 150 * SECOND)
    story.step(NOON + 200 * SECOND, 0)
    story.change(NOON + 300 * SECOND)
    assert [story.at(NOON + seconds * SECOND) for seconds in (90, 120, 180, 250)] == [SILENT, NOTED, NOTED, SILENT]


def test_a_step_that_nobody_ended_is_doubtful_to_the_end_of_its_session() -> None:
    """The next session takes the clock as it finds it."""
    story = Story()
    story.step(NOON + 100 * SECOND, 300 * SECOND)
    story.change(NOON + 150 * SECOND)
    assert story.at(NOON + 140 * SECOND) == DOUBTED
    epoch = story.forgery.end.epoch + 1
    fence = Run.of(
        "", Kind.SESSION, [b'{"epoch":%d,"instance":"a","version":"1","started":5,"sources":{}}' % epoch], observed=NOON + 600 * SECOND
    )
    story.forgery.add(fence, epoch=epoch, session=story.forgery.number, time=NOON + 600 * SECOND)
    story.change(NOON + 700 * SECOND)
    assert [story.at(NOON + seconds * SECOND) for seconds in (90, 140, 500, 650)] == [SILENT, DOUBTED, DOUBTED, SILENT]


@pytest.mark.parametrize("hours", [1, 30])
def test_a_session_that_began_behind_the_journal_makes_what_it_wrote_under_it_doubtful(hours: int) -> None:
    """However far behind it began."""
    story = Story()
    story.change(NOON + SECOND, *(NOON + hour * HOUR for hour in range(1, 41)))
    last, began = NOON + 40 * HOUR, NOON + (40 - hours) * HOUR
    epoch = story.forgery.end.epoch + 1
    fence = Run.of("", Kind.SESSION, [b'{"epoch":%d,"instance":"a","version":"1","started":5,"sources":{}}' % epoch], observed=began)
    story.forgery.add(fence, epoch=epoch, session=story.forgery.number, time=last + 1)
    story.step(began + SECOND, -hours * HOUR, reason="behind")
    story.change(began + 2 * SECOND, last + HOUR)
    assert [story.at(began + HOUR // 2), story.at(began - HOUR // 2), story.at(last + HOUR // 2)] == [DOUBTED, SILENT, SILENT]


def test_the_clock_of_a_database_is_not_the_archivers() -> None:
    """Its step is an entry of its source, and changes nothing of when a cluster was heard."""
    story = Story()
    story.change(NOON + 60 * SECOND)
    story.step(NOON + HOUR, -HOUR, believed=True, reason="source", source="db")
    story.change(NOON + 2 * HOUR)
    assert story.at(NOON + HOUR // 2) == SILENT


def call(folder: Path, *words: str) -> subprocess.CompletedProcess[str]:
    command = [sys.executable, "-m", "archiver", "--archive", f"file://{folder}", *words]
    return subprocess.run(command, capture_output=True, text=True, check=False, timeout=60, env={"PYTHONPATH": ":".join(sys.path)})


def test_commands_say_so_and_a_restore_refuses(back: Story, tmp_path: Path) -> None:
    """``restore`` ends with 3 unless gaps are allowed; ``show``, ``diff`` and ``log`` answer and say what is not known of the answer."""
    folder = tmp_path / "journal"
    for key in back.forgery.store.names(""):
        (folder / key).parent.mkdir(parents=True, exist_ok=True)
        (folder / key).write_bytes(back.forgery.store.peek(key) or b"")
    under, before = to_text(NOON + 45 * 60 * SECOND), to_text(NOON + 600 * SECOND)
    thing = ("--source", "kube", "--object", "things/n/a")
    for point, code in ((under, 3), (before, 0)):
        done = call(folder, "restore", "--source", "kube", "--at", point, "--to", str(tmp_path / f"out{code}"))
        assert (done.returncode, "clock was set back" in done.stdout + done.stderr) == (code, code == 3), done.stderr
    assert call(folder, "restore", "--source", "kube", "--at", under, "--to", str(tmp_path / "forced"), "--allow-gaps").returncode == 0
    shown = call(folder, "show", *thing, "--at", under)
    assert (shown.returncode, "clock was set back" in shown.stderr) == (0, True), shown.stderr
    compared = call(folder, "diff", *thing, "--from", before, "--until", under)
    assert (compared.returncode, "gap: --until: " in compared.stderr, "--from: " in compared.stderr) == (1, True, False), compared.stderr
    logged = call(folder, "log", *thing, "--until", under)
    assert (logged.returncode, "clock was set back" in logged.stdout) == (0, True), logged.stdout

"""The story: capture, a noted second, a disaster, a restore to that second, and the proof."""

from __future__ import annotations

import contextlib
import shlex
import subprocess
import sys
import time
from collections.abc import Iterator
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

from rich.box import SIMPLE_HEAD
from rich.console import Console
from rich.progress import BarColumn, Progress, TextColumn, TimeRemainingColumn
from rich.table import Table

from archiver.clock import SystemClock
from demo.half import Facts, Half
from tests.servers.archiver import Archiver

_BEFORE_SECONDS = 6.0
_AFTER_SECONDS = 2.0
_LINES = 12
"""Of an answer, that are shown."""


class Failed(Exception):
    """The demo could not be told to its end; the message says at what."""


class Story:
    """One telling over one or more halves, in a folder that must be empty."""

    def __init__(self, halves: list[Half], folder: Path, console: Console) -> None:
        self._halves = halves
        self._folder = folder
        self._console = console
        self._clock = SystemClock()
        self._archiver: Archiver | None = None

    def tell(self) -> bool:
        """Tell it from beginning to end; whether everything came back."""
        started = time.monotonic()
        for half in self._halves:
            with self._step(f"{half.title}: a source with state in it") as say:
                say(half.prepare())
        with self._step("`archiver run` takes a baseline and follows every change"):
            self._start_archiver()
        self._work()
        second, noted = self._note()
        self._go_on(second)
        self._ruin()
        restored = self._restore(second)
        equal = self._prove(second, noted, restored)
        self._ask(second)
        self._console.print(f"[dim]{time.monotonic() - started:.0f} s in all[/]")
        return equal

    def close(self) -> None:
        """End everything, whatever has been started."""
        if self._archiver and self._archiver.process.poll() is None:
            self._archiver.kill()
        for half in self._halves:
            half.close()

    @contextlib.contextmanager
    def _step(self, what: str) -> Iterator[Any]:
        started = time.monotonic()
        said: list[str] = []
        with self._console.status(what):
            yield said.append
        self._console.print(f"[green]✓[/] {what} [dim]({time.monotonic() - started:.1f} s)[/]")
        for line in said:
            self._console.print(f"  [dim]{line}[/]", highlight=False)

    def _start_archiver(self) -> None:
        sources = {half.name: half.settings() for half in self._halves}
        self._archiver = archiver = Archiver(self._folder, sources)
        archiver.start()
        for half in self._halves:
            archiver.wait(lambda half=half: half.captured(archiver.status()), f"{half.name} has no baseline", 120)

    def _work(self) -> None:
        for half in self._halves:
            half.start()
        columns = (TextColumn("[green]…[/] the workload runs"), BarColumn(), TextColumn("{task.fields[done]}"), TimeRemainingColumn())
        with Progress(*columns, console=self._console, transient=True) as progress:
            task = progress.add_task("", total=_BEFORE_SECONDS, done="")
            started = time.monotonic()
            evolved: list[str] = []
            while (passed := time.monotonic() - started) < _BEFORE_SECONDS:
                if passed > _BEFORE_SECONDS / 3 and not evolved:
                    evolved = [half.evolve() for half in self._halves]
                progress.update(task, completed=passed, done=f"{self._changes()} changes")
                time.sleep(0.1)
        self._console.print(f"[green]✓[/] the workload runs: {self._changes()} changes; in the middle, {' and '.join(evolved)}")

    def _note(self) -> tuple[datetime, dict[str, Facts]]:
        """Stand still over a full second and note everything: that second is where we shall want to be again."""
        with self._step("the workload stands still over one full second, and a copy of the facts is noted"):
            for half in self._halves:
                half.hold()
            # A change counts as observed when the archiver receives it, a moment after it was made.
            second = -(-(self._clock.now() + 300_000) // 1_000_000) * 1_000_000
            # Longer than a poll: sequences are not part of PostgreSQL's stream and are read every half second here.
            while self._clock.now() < second + 1_000_000:
                time.sleep(0.01)
            noted = {half.name: half.facts() for half in self._halves}
        moment = datetime.fromtimestamp(second / 1e6, UTC)
        self._console.print(f"  the second is [bold]{moment:%Y-%m-%dT%H:%M:%SZ}[/]")
        return moment, noted

    def _go_on(self, second: datetime) -> None:
        before = self._changes()
        for half in self._halves:
            half.start()
        time.sleep(_AFTER_SECONDS)
        for half in self._halves:
            half.hold()
        self._console.print(f"[green]✓[/] the workload goes on: {self._changes() - before} changes after {second:%H:%M:%S}")

    def _ruin(self) -> None:
        for half in self._halves:
            disaster = half.ruin()
            self._console.print(f"[red]✗[/] [bold]disaster[/]: {disaster.summary}")
            for command in disaster.commands:
                self._console.print(f"  [red]{command}[/]", highlight=False)
        with self._step("the journal holds that too: nothing is filtered, nothing is forgotten"):
            archiver = self._running
            archiver.wait(lambda: all(half.durable(archiver.status()) for half in self._halves), "the journal does not catch up")

    def _restore(self, second: datetime) -> dict[str, Facts]:
        targets = [f"{half.name}={half.target()}" if len(self._halves) > 1 else half.target() for half in self._halves]
        words = ["restore", "--at", f"{second:%Y-%m-%dT%H:%M:%SZ}", *(word for target in targets for word in ("--to", target))]
        self._console.print(f"[bold]$ archiver {' '.join(words)}[/]", highlight=False, soft_wrap=True)
        started = time.monotonic()
        command = [sys.executable, "-m", "archiver", "-c", str(self._running.config), "--log-level", "warning", *words]
        if subprocess.run(command, check=False).returncode != 0:
            raise Failed("the restore failed")
        self._console.print(f"[green]✓[/] restored [dim]({time.monotonic() - started:.1f} s)[/]")
        with self._step("`archiver run` stops in order; `archiver verify` reads the whole journal"):
            if self._running.stop() != 0:
                raise Failed(f"archiver run did not stop in order; its log ends:\n{self._running.log()[-2000:]}")
            verified = self._running.call("verify")
            if verified.returncode != 0:
                raise Failed(f"verify found something:\n{verified.stdout}{verified.stderr}")
        return {half.name: half.restored() for half in self._halves}

    def _prove(self, second: datetime, noted: dict[str, Facts], restored: dict[str, Facts]) -> bool:
        self._console.print(f"\n[bold]as of {second:%Y-%m-%dT%H:%M:%SZ}[/] [dim](md5, rows or objects)[/]")
        table = Table(box=SIMPLE_HEAD, pad_edge=False, padding=(0, 1))
        for heading in ("", "noted then", "source now", "restored", ""):
            table.add_column(heading, no_wrap=True)
        good, ahead = True, 0
        for half in self._halves:
            then, now, back = noted[half.name], half.facts(), restored[half.name]
            for name in dict.fromkeys((*then, *back)):
                one, other = then.get(name), back.get(name)
                if one == other == now.get(name) and one and one.note.startswith("0 "):
                    continue
                verdict = "[green]equal[/]" if one == other else "[bold red]DIFFERENT[/]"
                if one and other and one != other and half.accepts(name, one, other):
                    verdict = "[green]ahead[/]"
                    ahead += 1
                good = good and "DIFFERENT" not in verdict
                changed = now.get(name) != one
                table.add_row(
                    name, _shown(then, name), f"[{'red' if changed else 'dim'}]{_shown(now, name)}[/]", _shown(back, name), verdict
                )
        self._console.print(table)
        if not good:
            self._console.print("[bold red]NOT everything came back[/]")
        else:
            self._console.print("[bold green]everything came back exactly as it was[/]" + f", but for {ahead} sequences" * bool(ahead))
        if ahead:
            self._console.print(
                "  [dim]sequences are not part of PostgreSQL's change stream; read now and then, they may come back ahead[/]"
            )
        return good

    def _ask(self, second: datetime) -> None:
        """What else the archive answers: nothing of it needs `archiver run`."""
        self._console.print("[bold]and what else the archive answers[/]")
        for half in self._halves:
            for question in half.questions(f"{second:%Y-%m-%dT%H:%M:%SZ}", self._folder):
                self._console.print(f"[dim]# {question.what}[/]", highlight=False)
                self._console.print(f"[bold]$ archiver {shlex.join(question.words)}[/]", highlight=False, soft_wrap=True)
                answer = self._running.call(*question.words)
                # 3: something of that time is not known, such as a schema that changed while it was read; the answer says so.
                good = {int(question.differs)} | ({3} if question.words[0] != "restore" else set())
                if answer.returncode not in good:
                    raise Failed(f"{question.what}: exit code {answer.returncode}\n{answer.stdout}{answer.stderr}")
                lines = [*answer.stdout.splitlines(), *(answer.stderr.splitlines() if answer.returncode == 3 else [])]
                more = [f"… {len(lines) - _LINES} lines more"] if len(lines) > _LINES else []
                for line in [*lines[:_LINES], *more]:
                    self._console.print(line, style="dim", markup=False, highlight=False, no_wrap=True, overflow="ellipsis")
        self._console.print()

    def _changes(self) -> int:
        return sum(half.changes for half in self._halves)

    @property
    def _running(self) -> Archiver:
        assert self._archiver is not None
        return self._archiver


def _shown(facts: Facts, name: str) -> str:
    fact = facts.get(name)
    if fact is None:
        return "gone"
    count = fact.note.partition(" ")[0]
    short = fact.value[:6] if len(fact.value) == 32 else fact.value
    return f"{short} {count}" if count.isdigit() else short

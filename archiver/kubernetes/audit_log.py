"""Files of an API server's audit log -> the requests that may have changed something."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from pathlib import Path

from archiver import disk
from archiver.errors import Invalid
from archiver.kubernetes.audit_events import LONGEST_LINE, Request, request_of
from archiver.untrusted import Unreadable

MOST_REQUESTS = 1_000_000
"""That are held at once: some hundred bytes each."""


def read_requests(paths: Sequence[Path]) -> list[Request]:
    """Of all files together, each once. Raises ``Invalid`` for a line that is no event, or too many requests; else as ``disk.explained``.

    Nothing is passed over: whoever is missing could be the one who made a change. Only a last line without an end may be half of one.
    """
    found: dict[Request, None] = {}
    for path in paths:
        for request in _requests(path):
            found[request] = None
            if len(found) > MOST_REQUESTS:
                raise Invalid(
                    f"the audit log has more than {MOST_REQUESTS} requests that may have changed something",
                    hint="give the files of a shorter time, or the lines of the kinds that are asked about",
                )
    return list(found)


def _requests(path: Path) -> Iterator[Request]:
    with disk.errors("read the audit log", path):
        try:
            file = path.open("rb")
        except FileNotFoundError:
            raise Invalid(
                f"there is no audit log {path}", hint="--audit-log names files that --audit-log-path of the API server wrote"
            ) from None
        with file:
            number = 0
            while line := file.readline(LONGEST_LINE + 1):
                number += 1
                whole = line.endswith(b"\n")
                if not line.strip():
                    continue
                try:
                    request = request_of(line)
                except Unreadable as error:
                    if not whole and len(line) <= LONGEST_LINE and not file.read(1):
                        return
                    raise Invalid(
                        f"line {number} of {path} is no event of an audit log: {error}",
                        hint="give files as --audit-log-path has them: audit.k8s.io/v1, a JSON document a line, not compressed",
                    ) from None
                if request is not None:
                    yield request

"""The URL of an archive -> its store. The only place that knows all kinds."""

from __future__ import annotations

import re
from pathlib import Path
from urllib.parse import SplitResult, unquote, urlsplit

from archiver.errors import Invalid
from archiver.store.directory import DirectoryStore
from archiver.store.keys import checked
from archiver.store.memory import MemoryStore
from archiver.store.options import S3Options
from archiver.store.protocol import Store

_HINT = "write file:///folder, s3://bucket/prefix, or memory: for tests"
_BUCKET = re.compile(r"[A-Za-z0-9][A-Za-z0-9._-]{1,254}")


def place(url: str) -> SplitResult:
    """``url`` in its parts. Raises ``Invalid``, without repeating it, for one that holds more than a place."""
    try:
        parts = urlsplit(url)
    except ValueError:
        raise Invalid("archive.url: it is no URL", hint=_HINT) from None
    if parts.query or parts.fragment or parts.username or parts.password:
        raise Invalid(
            "archive.url: only a place may be in it, no credentials and no options", hint="options of S3 belong in archive.s3; " + _HINT
        )
    return parts


async def open_store(url: str, s3: S3Options) -> Store:
    """The store that ``url`` names; whoever opens it closes it. ``s3`` is used for ``s3://`` only.

    Nothing is touched or asked yet. Raises ``Invalid`` for a URL or options that cannot work.
    """
    parts = place(url)
    match parts.scheme:
        case "file":
            folder = Path(unquote(parts.path))
            if parts.netloc not in ("", "localhost") or not folder.is_absolute():
                raise Invalid(f"archive.url: {url!r} does not name an absolute folder of this machine", hint="write file:///folder")
            return DirectoryStore(folder)
        case "s3":
            if not _BUCKET.fullmatch(parts.netloc):
                raise Invalid(f"archive.url: {parts.netloc!r} is not the name of a bucket", hint="write s3://bucket/prefix")
            prefix = parts.path.strip("/")
            from archiver.store.s3 import S3Store

            return await S3Store.open(parts.netloc, checked(prefix) if prefix else "", s3)
        case "memory":
            return MemoryStore(parts.path)
    raise Invalid(f"archive.url: {url!r} is of no known kind", hint=_HINT)

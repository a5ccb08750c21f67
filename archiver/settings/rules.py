"""What settings must be beyond the type of each: names, choices, secrets that are named, numbers that fit each other."""

from __future__ import annotations

import re

from archiver.errors import Invalid
from archiver.secrets import Secret
from archiver.settings.model import Archive, Settings, Source
from archiver.store.open import place

_NAME = re.compile(r"[a-z0-9]([a-z0-9-]{0,61}[a-z0-9])?")


def check(settings: Settings, origin: str) -> None:
    """Raise ``Invalid`` for the first setting that cannot be meant so; ``origin`` is named. No secret is read or repeated."""
    _check_archive(settings.archive, origin)
    for name, source in settings.sources.items():
        _check_source(name, source, origin)


def _check_archive(archive: Archive, origin: str) -> None:
    place(archive.url)
    _check_secret(archive.s3.access_key, "archive.s3.access_key")
    _check_secret(archive.s3.secret_key, "archive.s3.secret_key")
    # The longest silence of a writer that lives and whose store answers.
    silence = max(archive.heartbeat_seconds, 1 / archive.puts_per_second)
    if archive.takeover_after_seconds <= silence:
        raise Invalid(
            f"{origin}: archive.takeover_after_seconds: {archive.takeover_after_seconds:g} s, and a living writer may be silent"
            f" for {silence:g} s: another instance would take the archive from it",
            hint="make it longer than archive.heartbeat_seconds and 1 / archive.puts_per_second, best three times",
        )


def _check_source(name: str, source: Source, origin: str) -> None:
    if not _NAME.fullmatch(name):
        raise Invalid(
            f"{origin}: sources: name {name!r} is not allowed",
            hint="source names are 1 to 63 of a-z, 0-9 and -, and do not start or end with -",
        )
    if (source.postgres is None) == (source.kubernetes is None):
        found = "both" if source.postgres is not None else "neither"
        raise Invalid(f"{origin}: sources.{name}: found {found}", hint="give exactly one of postgres and kubernetes")
    if source.postgres is not None:
        _check_secret(source.postgres.password, f"sources.{name}.postgres.password")


def _check_secret(reference: str, setting: str) -> None:
    if reference:
        Secret(reference, setting)

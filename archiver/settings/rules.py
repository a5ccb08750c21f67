"""What settings must be beyond the type of each: names, choices, secrets that are named, numbers that fit each other."""

from __future__ import annotations

import re

from archiver.capture.kubernetes.field_path import parse_field
from archiver.errors import Invalid
from archiver.replay.assertions import Assertion
from archiver.secrets import Secret
from archiver.settings.model import Archive, Drills, Retention, Settings, Source
from archiver.store.open import place

_NAME = re.compile(r"[a-z0-9]([a-z0-9-]{0,61}[a-z0-9])?")


def check(settings: Settings, origin: str) -> None:
    """Raise ``Invalid`` for the first setting that cannot be meant so; ``origin`` is named. No secret is read or repeated."""
    _check_archive(settings.archive, origin)
    _check_retention(settings.retention, settings.archive, origin)
    for name, source in settings.sources.items():
        _check_source(name, source, origin)
    _check_drills(settings.drills, origin)


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


LEAST_WINDOW_SECONDS = 3600.0
"""Of retention. A writer that slept for so long notices it before it acknowledges anything."""


def _check_retention(retention: Retention, archive: Archive, origin: str) -> None:
    windows = {"restore_seconds": retention.restore_seconds} | {
        f"sources.{name}": each.restore_seconds for name, each in retention.sources.items()
    }
    least = max(LEAST_WINDOW_SECONDS, 10 * archive.stall_seconds)
    for name, seconds in windows.items():
        if 0 < seconds < least:
            raise Invalid(
                f"{origin}: retention.{name}: {seconds:g} s is too short to be safe",
                hint=f"make it {least:g} or more: an hour, and ten times archive.stall_seconds; 0 for `restore_seconds` deletes nothing",
            )
    if windows["restore_seconds"] == 0 and (len(windows) > 1 or retention.audit_seconds or retention.pins):
        raise Invalid(f"{origin}: retention.restore_seconds: it is missing, and other settings of retention are there", hint="set it")
    if retention.keep_marks and retention.pins:
        raise Invalid(f"{origin}: retention.pins: with keep_marks every mark is pinned", hint="leave pins out, or set keep_marks: false")


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
        for line in source.postgres.redact:
            if line.count(".") < 2 or not all(line.split(".")):
                raise Invalid(
                    f"{origin}: sources.{name}.postgres.redact: {line!r} names no column",
                    hint="write schema.table.column; * matches within a part",
                )
    for line in source.kubernetes.redact if source.kubernetes is not None else ():
        try:
            parse_field(line)
        except Invalid as error:
            raise Invalid(f"{origin}: sources.{name}.kubernetes.redact: {error.message}", hint=error.hint) from None


def _check_secret(reference: str, setting: str) -> None:
    if reference:
        Secret(reference, setting)


def _check_drills(drills: Drills, origin: str) -> None:
    seen = set[str]()
    for number, each in enumerate(drills.assertions, 1):
        where = f"{origin}: drills.assertions: {each.name or f'number {number}'}"
        if not each.name or each.name in seen:
            raise Invalid(f"{where}: {'the name is taken' if each.name else 'it has no name'}", hint="give each a name of its own")
        seen.add(each.name)
        _check_assertion(each, where)


def _check_assertion(each: Assertion, where: str) -> None:
    if not each.source or bool(each.sql) == bool(each.kind):
        raise Invalid(f"{where}: it does not say what is asked", hint="give source, and exactly one of sql and kind")
    if each.sql and (each.namespace or each.selector or each.path):
        raise Invalid(f"{where}: namespace, selector and path are of objects", hint="leave them out, or give kind instead of sql")
    between = each.at_least is not None or each.at_most is not None
    if [each.equals is not None, between, each.nothing].count(True) != 1:
        raise Invalid(f"{where}: it does not say what is expected", hint="give one: equals; at_least, at_most or both; nothing: true")
    if any(value is not None and value != value for value in (each.at_least, each.at_most)):  # noqa: PLR0124 -- not a number
        raise Invalid(f"{where}: nothing is compared with what is not a number", hint="give numbers")
    if not between and not each.nothing and each.path == "" and each.kind and (isinstance(each.equals, (str, bool))):
        raise Invalid(f"{where}: without a path objects are counted, and {each.equals!r} is no number", hint="give a path or a number")
    if each.kind:
        # Only what is about objects needs to know how those are read.
        from archiver.replay.kubernetes.label_selector import LabelSelector
        from archiver.replay.kubernetes.object_values import compile_path

        try:
            LabelSelector.parse(each.selector)
            if each.path:
                compile_path(each.path)
        except Invalid as error:
            raise Invalid(f"{where}: {error.message}", hint=error.hint) from None

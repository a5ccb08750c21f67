"""What a driver's error says to the user."""

from __future__ import annotations

import psycopg
import pytest

from archiver.capture.postgres.session.access import translated
from archiver.errors import Refused, Unavailable


@pytest.mark.parametrize(
    ("error", "kind", "advice"),
    [
        (psycopg.errors.CharacterNotInRepertoire(), Unavailable, "rename it"),
        (psycopg.errors.UntranslatableCharacter(), Unavailable, "rename it"),
        (psycopg.errors.InsufficientPrivilege(), Refused, "archiver check"),
        (psycopg.errors.AdminShutdown(), Unavailable, "it is tried again"),
        (psycopg.OperationalError("the server closed the connection"), Unavailable, "it is tried again"),
    ],
)
def test_the_next_step_is_one_that_helps(error: psycopg.Error, kind: type[Refused | Unavailable], advice: str) -> None:
    """Waiting alone never mends a name that is not UTF-8, nor a missing right."""
    found = translated(error, "reading the catalog")
    assert isinstance(found, kind)
    assert advice in found.hint

"""What can be the name of a mark."""

from __future__ import annotations

import pytest

from archiver.errors import Invalid
from archiver.journal.marks import LONGEST, check_name


@pytest.mark.parametrize("name", ["before 2.0", "v1/x", "größer", "x" * LONGEST])
def test_a_printable_name_is_taken(name: str) -> None:
    """Spaces and any letters may be inside."""
    assert check_name(name) == name


@pytest.mark.parametrize("name", ["", " x", "x ", "a\tb", "a\nb", "\x1b[0m", "\u202e", "\ud800", "x" * (LONGEST + 1)])
def test_other_names_are_refused(name: str) -> None:
    """Nothing that a terminal would obey, nothing that --at could not say again."""
    with pytest.raises(Invalid):
        check_name(name)

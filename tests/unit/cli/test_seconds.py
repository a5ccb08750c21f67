"""Seconds that an argument names."""

import click
import pytest

from archiver.cli.seconds import Seconds


@pytest.mark.parametrize("text", ["nan", "inf", "1e999", "-1", "9" * 400, "", "1 s"])
def test_what_no_clock_can_count_is_a_wrong_argument(text: str) -> None:
    """It is refused before anything is begun."""
    with pytest.raises(click.BadParameter):
        Seconds().convert(text, None, None)


def test_seconds() -> None:
    """Whole or not, from none on."""
    assert [Seconds().convert(text, None, None) for text in ("0", "2.5", "1e3")] == [0.0, 2.5, 1000.0]

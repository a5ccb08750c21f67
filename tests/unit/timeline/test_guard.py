"""Who is answered."""

from __future__ import annotations

import pytest

from archiver.timeline.guard import Guard

GUARD = Guard("secret", ["timeline.example", "0.0.0.0", "fd00::1"])


@pytest.mark.parametrize(
    "host", ["127.0.0.1", "127.0.0.1:80", "localhost:8090", "LOCALHOST", "[::1]", "[::1]:80", "timeline.example:443", "[fd00::1]:80"]
)
def test_names_of_this_server(host: str) -> None:
    """Those of this machine and those that were given, on any port."""
    assert GUARD.is_ours(host)


@pytest.mark.parametrize(
    "host", ["", "evil.example", "127.0.0.1.evil.example", "localhost.evil.example:80", "[::1", "::1", "127.0.0.1:x", "evil@127.0.0.1"]
)
def test_names_of_others(host: str) -> None:
    """Whatever else a name may be: a page of elsewhere that leads here is one."""
    assert not GUARD.is_ours(host)


def test_the_token_alone_is_known() -> None:
    """As Bearer, whole, and nothing else."""
    assert GUARD.knows("Bearer secret")
    assert GUARD.knows("bearer secret")
    assert not any(
        map(GUARD.knows, ["", "Bearer", "Bearer ", "Bearer secre", "Bearer secrets", "Basic secret", "secret", "Bearer s\udcffcret"])
    )

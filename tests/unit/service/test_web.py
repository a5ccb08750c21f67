"""The address that the probes are served on."""

from __future__ import annotations

import pytest

from archiver.clock import SystemClock
from archiver.errors import Invalid
from archiver.service.service import Service
from archiver.service.web import Web
from archiver.settings import Settings


@pytest.mark.parametrize("listen", ["8080", "localhost", "localhost:", "localhost:http", "localhost:65536", "localhost:-1", "localhost:²"])
def test_an_address_that_cannot_be_is_named(listen: str) -> None:
    """Anything but host:port is a wrong setting, with what was found."""
    with pytest.raises(Invalid, match=r"web\.listen") as caught:
        Web(service(), listen, 60)
    assert listen in caught.value.message


@pytest.mark.parametrize("listen", ["127.0.0.1:0", "[::1]:8080", ":8080", "localhost:65535"])
def test_addresses(listen: str) -> None:
    """IPv4, IPv6 in brackets, names, and all addresses."""
    Web(service(), listen, 60)


async def test_a_host_that_is_not_there_is_a_wrong_setting() -> None:
    """What cannot be bound is told as such."""
    with pytest.raises(Invalid, match=r"cannot bind 192\.0\.2\.1"):
        await Web(service(), "192.0.2.1:8080", 60).start()


def service() -> Service:
    return Service(Settings(), SystemClock(), lambda *_: [])

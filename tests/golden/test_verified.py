"""What a verifying list found as it was known, as it is stored since then: every later version must read it and mean the same by it."""

from __future__ import annotations

import msgspec
import pytest

from archiver.kubernetes.records import Verified
from archiver.kubernetes.state_digest import state_digest

DIGEST = "2642d6aaa0fa799c153d87198fac1cb826a4a10013a6b933c4ea61bac656f8e0"
STORED = {
    b'{"resource_version":"1315","count":2,"digest":"%b","listed":1800000000000000}' % DIGEST.encode(): Verified(
        "1315", 2, DIGEST, 1_800_000_000_000_000
    ),
    b'{"resource_version":"1315","count":2,"digest":"%b"}' % DIGEST.encode(): Verified("1315", 2, DIGEST),
}


@pytest.mark.parametrize("body", STORED)
def test_its_body_means_the_same(body: bytes) -> None:
    """Fields that are missing have their defaults, fields that are unknown are passed over."""
    assert msgspec.json.decode(body, type=Verified) == STORED[body]
    assert msgspec.json.decode(body[:-1] + b',"later":1}', type=Verified) == STORED[body]


def test_the_digest_of_a_state_stays_the_same() -> None:
    """Whatever the order in which its objects are told."""
    objects = [(("agents", "run-1"), ("u1", "1315")), (("", "wide"), ("u2", "7")), (("agents", 'q"\u00e9'), ("u3", "12"))]
    for told in (objects, objects[::-1]):
        assert state_digest(told) == DIGEST
    assert state_digest([]) == "e3b0c44298fc1c149afbf4c8996fb92427ae41e4649b934ca495991b7852b855"

"""What an API server answers, for those who judge answers and open no connection: this loads no driver."""

from __future__ import annotations

import msgspec

from archiver.errors import Unavailable


class TooLarge(Unavailable):
    """An answer that is larger than what is read of one; the rest of it was not read."""


class Answer(msgspec.Struct, frozen=True):
    """A response that was read whole."""

    status: int
    body: bytes
    retry_after: float
    """Seconds; 0 when the server said nothing."""


def not_an_api_server(server: str) -> Unavailable:
    """What ``server`` answers with success is not what an API server answers to that."""
    return Unavailable(f"what answers at {server} is not a Kubernetes API server", hint="see server and proxy-url in the kubeconfig")

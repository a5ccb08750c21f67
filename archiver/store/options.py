"""How to reach an S3 endpoint: the options, their defaults and what they mean. The settings inherit them."""

from __future__ import annotations

from typing import Literal

import msgspec

from archiver.bounds import Positive


class S3Options(msgspec.Struct, frozen=True, kw_only=True):
    """One endpoint, and how long its answers are awaited. Secrets are references; the store reads them."""

    endpoint: str = ""
    """URL of the endpoint; empty for AWS. ``http://`` needs ``allow_http``."""
    allow_http: bool = False
    """Send data and signatures over an unencrypted connection."""
    region: str = "us-east-1"
    """Region for signing; servers other than AWS take any."""
    addressing: Literal["path", "virtual"] = "path"
    """Bucket in the path or in the host name."""
    access_key: str = ""
    """Secret reference: ``env:NAME`` or ``file:PATH``. Empty: AWS chain."""
    secret_key: str = ""
    """Secret reference; given exactly when ``access_key`` is."""
    ca_file: str = ""
    """PEM file with the authorities to trust; empty: the system's."""
    connect_timeout_seconds: Positive = 2.0
    """For one TCP and TLS connection."""
    read_timeout_seconds: Positive = 10.0
    """Longest silence while an answer is awaited or read; longer after a body that the line takes long for."""
    call_deadline_seconds: Positive = 30.0
    """For one call of up to 8 MiB, however often it is tried; more bytes get more time, and so does a call that was too slow."""

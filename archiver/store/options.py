"""How to reach an S3 endpoint, as the caller's settings hold it."""

from __future__ import annotations

from typing import Protocol


class S3Options(Protocol):
    """What ``archive.s3`` of the settings gives; any object with these attributes will do."""

    @property
    def endpoint(self) -> str:
        """URL; empty for AWS."""
        ...

    @property
    def allow_http(self) -> bool:
        """Whether ``endpoint`` may be ``http://``."""
        ...

    @property
    def region(self) -> str:
        """Region for signing; servers other than AWS mostly take any."""
        ...

    @property
    def addressing(self) -> str:
        """``path`` or ``virtual``."""
        ...

    @property
    def access_key(self) -> str:
        """Secret reference (``archiver.secrets``); empty: the AWS chain."""
        ...

    @property
    def secret_key(self) -> str:
        """Secret reference; given exactly when ``access_key`` is."""
        ...

    @property
    def ca_file(self) -> str:
        """PEM file with the authorities to trust; empty: the system's."""
        ...

    @property
    def connect_timeout_seconds(self) -> float:
        """For one TCP and TLS connection."""
        ...

    @property
    def read_timeout_seconds(self) -> float:
        """Longest silence while an answer is awaited or read."""
        ...

    @property
    def call_deadline_seconds(self) -> float:
        """For one call of the store, whatever it does and however often it tries."""
        ...

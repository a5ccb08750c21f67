"""What an S3 endpoint's failure means: which error to raise, and whether the same request may be sent again at once."""

from __future__ import annotations

from dataclasses import dataclass

import aiohttp
from botocore.exceptions import (
    BotoCoreError,
    ClientError,
    CredentialRetrievalError,
    MetadataRetrievalError,
    NoCredentialsError,
    ParamValidationError,
    PartialCredentialsError,
    SSLError,
)

from archiver.disk import GOES_ON
from archiver.errors import ArchiverError, Invalid, Refused, Unavailable
from archiver.pages import page


class NoStoreAnswer(OSError):
    """An answer of success that no store gives: of a gateway that signs people in, or a broken server. Its text says what is wrong."""


FAILURES = (ClientError, BotoCoreError, aiohttp.ClientError, OSError)
"""Everything that a call through aiobotocore raises when the call fails."""

_IDENTITY = {
    "AccessDenied": "check that the credentials may read, write, list and delete objects under this prefix (and list the bucket)",
    "403": "check the credentials and what they may do under this prefix",
    "InvalidAccessKeyId": "check archive.s3.access_key, and that the endpoint is the one that issued it",
    "SignatureDoesNotMatch": "check archive.s3.secret_key and archive.s3.region",
    "AuthorizationHeaderMalformed": "check archive.s3.region",
    "RequestTimeTooSkewed": "check this machine's clock",
    "ExpiredToken": "the temporary credentials have ended: check what renews them",
    "InvalidToken": "check the session token of the AWS credentials",
    "NoSuchBucket": "create the bucket (unversioned), or correct archive.url",
    "PermanentRedirect": "the bucket is in another region: set archive.s3.region",
}
"""Wrong settings before anything has worked; afterwards more likely a rotation, an outage or somebody's change."""

_AGAIN = {"ConditionalRequestConflict", "OperationAborted", "RequestTimeout", "SlowDown", "BadDigest", "XAmzContentSHA256Mismatch"}
_FULL = {"QuotaExceeded", "InsufficientCapacity", "XMinioStorageFull", "InsufficientStorage"}


@dataclass(frozen=True)
class Meaning:
    """``again``: the endpoint may do it when asked once more; it may also have done it already."""

    error: ArchiverError
    again: bool


def code_of(error: Exception) -> str:
    """The endpoint's error code, such as ``NoSuchKey``; the status where the answer had no body; empty when it did not answer."""
    return str(error.response.get("Error", {}).get("Code", "")) if isinstance(error, ClientError) else ""


def status_of(error: Exception) -> int:
    """The HTTP status, 0 when there was none."""
    return int(error.response.get("ResponseMetadata", {}).get("HTTPStatusCode", 0)) if isinstance(error, ClientError) else 0


def meaning(error: Exception, verb: str, where: str, *, worked: bool) -> Meaning:
    """What ``error`` of ``verb`` at ``where`` means. ``worked``: with these settings a call has succeeded before."""
    if isinstance(error, ClientError):
        return _answered(error, verb, where, worked=worked)
    what = f"{where}: cannot {verb}"
    if isinstance(error, (NoCredentialsError, PartialCredentialsError)):
        return Meaning(
            Invalid(f"{what}: no credentials", hint="set archive.s3.access_key and archive.s3.secret_key, or provide AWS credentials"),
            False,
        )
    if isinstance(error, (CredentialRetrievalError, MetadataRetrievalError)):
        return Meaning(
            Unavailable(f"{what}: the source of credentials failed", hint="check the role, token file or metadata service"), True
        )
    if isinstance(error, SSLError):
        kind = Unavailable if worked else Invalid
        return Meaning(kind(f"{what}: TLS failed", hint="check the endpoint's certificate and archive.s3.ca_file"), worked)
    if isinstance(error, NoStoreAnswer):
        return Meaning(
            Unavailable(f"{what}: {error}", hint="check archive.s3.endpoint, and what stands before it: no store answers so"),
            True,
        )
    if isinstance(error, ParamValidationError):
        return Meaning(Invalid(f"{what}: the request is not valid", hint="check the bucket in archive.url"), False)
    return Meaning(
        Unavailable(f"{what}: the endpoint does not answer ({type(error).__name__})", hint="check the endpoint, its name and the network"),
        True,
    )


def _answered(error: ClientError, verb: str, where: str, *, worked: bool) -> Meaning:
    code, status = code_of(error), status_of(error)
    what = f"{where}: cannot {verb}: {code or 'no code'}, HTTP status {status}"
    if code in _FULL or status == 507:
        return Meaning(Unavailable(what, hint=f"raise the quota or free space there; {GOES_ON}"), False)
    if code in _IDENTITY or status in (301, 401, 403):
        hint = _IDENTITY.get(code, _IDENTITY["403"])
        return Meaning(Unavailable(what, hint=hint) if worked else Invalid(what, hint=hint), False)
    if status == 501 or code == "NotImplemented":
        return Meaning(
            Refused(what, hint=f"this store lacks an operation that the archive needs; see {page('reference/stores.md')}"), False
        )
    if code in _AGAIN or status in (408, 409, 429) or status >= 500:
        return Meaning(Unavailable(what, hint="the endpoint is overloaded or failing; it is asked again"), True)
    if status == 413:
        hint = "the endpoint, or a proxy before it, takes no object of that size: raise its limit (archive.segment_bytes, part_bytes)"
    else:
        hint = "check archive.url and archive.s3, and what stands between here and the endpoint"
    # After something has worked it is more likely an ingress that has lost its gateway, or a body that broke off on the way there.
    return Meaning(Unavailable(what, hint=hint) if worked else Invalid(what, hint=hint), worked)

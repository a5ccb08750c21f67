"""S3 and what speaks its protocol, through aiobotocore. Only this file knows that library.

Four of its habits are turned off here: it announces bodies with ``Expect: 100-continue`` and waits without any limit for the answer; its
HTTP client sends a PUT again by itself when a kept connection breaks, which turns our own object into somebody else's; it retries on its
own account; and it frames bodies so that checksums can trail, which older Ceph RGW stores wrongly. Repeating is done here, with the same
bytes and within one deadline, which grows with the bytes.
"""

from __future__ import annotations

import asyncio
import base64
import hashlib
import re
import sys
import time
from collections.abc import Awaitable, Callable, Mapping
from contextlib import AsyncExitStack
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, Any, TypeVar
from urllib.parse import urlsplit

import aiohttp
from aiobotocore.config import AioConfig
from aiobotocore.credentials import AioCredentials
from aiobotocore.httpsession import AIOHTTPSession
from aiobotocore.session import AioSession
from botocore.credentials import ReadOnlyCredentials
from botocore.exceptions import ReadTimeoutError
from botocore.handlers import add_expect_header
from botocore.utils import determine_content_length

from archiver.errors import Invalid, Unavailable
from archiver.secrets import Secret
from archiver.store import s3_errors
from archiver.store.keys import checked, checked_prefix
from archiver.store.options import S3Options
from archiver.store.patience import Patience

if TYPE_CHECKING:
    from types_aiobotocore_s3 import S3Client

_T = TypeVar("_T")
_Keys = list[str]
_Answer = TypeVar("_Answer", bound=Mapping[str, Any])
_CONTENT_RANGE = re.compile(r"bytes (\d{1,18})-\d{1,18}/(\d{1,18})", re.ASCII)

_CONNECTIONS = 64
_READS = 48
"""Of the connections, these may be taken by reads of objects, so that a restore cannot keep a commit waiting."""

_PAUSES = (0.05, 0.2, 0.8)
"""Seconds before the second, third and fourth try of one call; whoever calls goes on from there."""

_PAGE = 1000
_PIECE = 1 << 20
_HASH_IN_THREAD = 1 << 18


class S3Store:
    """A ``Store`` in ``bucket`` under ``prefix``. Made by ``open``."""

    def __init__(self, client: S3Client, resources: AsyncExitStack, bucket: str, prefix: str, options: S3Options) -> None:
        self._client, self._resources = client, resources
        self._bucket, self._base = bucket, f"{prefix}/" if prefix else ""
        self._deadline, self._silence = options.call_deadline_seconds, options.read_timeout_seconds
        self._patience = Patience()
        client.meta.events.register("before-call.s3.PutObject", self._await_longer)
        self._reads = asyncio.Semaphore(_READS)
        self._worked = False

    @classmethod
    async def open(cls, bucket: str, prefix: str, options: S3Options) -> S3Store:
        """A store with connections of its own; it has not talked to the endpoint yet. Raises ``Invalid`` for options that cannot work."""
        _check(options)
        session = AioSession()
        if options.access_key:
            access = Secret(options.access_key, "archive.s3.access_key")
            secret = Secret(options.secret_key, "archive.s3.secret_key")
            session.get_component("credential_provider").providers.insert(0, _Provider(access, secret))
        config = AioConfig(
            connect_timeout=options.connect_timeout_seconds,
            read_timeout=options.read_timeout_seconds,
            retries={"mode": "standard", "total_max_attempts": 1},  # "max_attempts" counts the repetitions only
            s3={"addressing_style": options.addressing},
            max_pool_connections=_CONNECTIONS,
            request_checksum_calculation="when_required",
            response_checksum_validation="when_required",
            ignore_configured_endpoint_urls=True,
            http_session_cls=_HttpSession,
            warm_up_loader_caches=True,
            user_agent_extra="archiver",
        )
        resources = AsyncExitStack()
        client = await resources.enter_async_context(
            session.create_client(
                "s3",
                region_name=options.region,
                endpoint_url=options.endpoint or None,
                verify=options.ca_file or None,
                config=config,
            )
        )
        client.meta.events.unregister("before-call.s3", add_expect_header)
        return cls(client, resources, bucket, prefix, options)

    @property
    def url(self) -> str:
        return f"s3://{self._bucket}/{self._base}".rstrip("/")

    async def put_if_absent(self, key: str, data: bytes) -> bool:
        name = self._base + checked(key)
        digest = await asyncio.to_thread(_sha256, data) if len(data) >= _HASH_IN_THREAD else _sha256(data)
        unsure = False

        async def put() -> bool:
            nonlocal unsure
            try:
                _of_object(await self._client.put_object(Bucket=self._bucket, Key=name, Body=data, IfNoneMatch="*", ChecksumSHA256=digest))
            except s3_errors.FAILURES as error:
                if s3_errors.status_of(error) != 412:
                    unsure = True
                    raise
                # A try whose answer was lost may have created it: those are then exactly our bytes.
                return unsure and await self._range(name, 0, len(data) + 1) == data
            return True

        began = time.monotonic()
        created = await self._call("create", key, put, size=len(data))
        self._patience.done(self._deadline, len(data), time.monotonic() - began)
        return created

    async def get(self, key: str, start: int = 0, length: int | None = None) -> bytes | None:
        name = self._base + checked(key)
        if length == 0:
            return None if await self.size(key) is None else b""
        async with self._reads:
            deadline = asyncio.timeout(self._deadline)
            return await self._call("read", key, partial(self._range, name, start, length, deadline), deadline=deadline)

    async def size(self, key: str) -> int | None:
        name = self._base + checked(key)

        async def head() -> int | None:
            try:
                return int(_of_object(await self._client.head_object(Bucket=self._bucket, Key=name))["ContentLength"])
            except s3_errors.FAILURES as error:
                if s3_errors.code_of(error) in ("404", "NoSuchKey", "NotFound"):
                    return None
                raise

        return await self._call("look at", key, head)

    async def list(self, prefix: str, after: str = "", limit: int | None = None) -> list[str]:
        whole, last = self._base + checked_prefix(prefix), self._base + after if after else ""
        found: set[str] = set()
        token, tokens = "", set[str]()
        while limit is None or len(found) < limit:
            wanted = _PAGE if limit is None else min(_PAGE, limit - len(found))
            page, token = await self._call("list", prefix, partial(self._page, whole, last, wanted, token, tokens))
            found.update(name for name in page if name > last)
            if not token:
                break
            tokens.add(token)
        # SeaweedFS lists a folder before a sibling such as ``folder.x``; a whole list can be put right, a part of one cannot.
        return sorted(name[len(self._base) :] for name in found)

    async def delete(self, key: str) -> None:
        name = self._base + checked(key)

        async def delete() -> None:
            await self._client.delete_object(Bucket=self._bucket, Key=name)

        await self._call("delete", key, delete)

    async def close(self) -> None:
        await self._resources.aclose()

    def _await_longer(self, params: dict[str, Any], **_: Any) -> None:
        """The answer to a large body comes late: the last of it may still be in the machine's buffers when it counts as sent."""
        params["context"]["read_timeout"] = self._patience.seconds(self._silence, determine_content_length(params["body"]) or 0)

    async def _call(
        self, verb: str, key: str, action: Callable[[], Awaitable[_T]], *, size: int = 0, deadline: asyncio.Timeout | None = None
    ) -> _T:
        """``action``, again where that may help, within the deadline; its failure in our terms.

        ``size``: bytes that it sends, which give it more time; where it was too little, the next call has more. ``deadline``: one that
        ``action`` itself puts off.
        """
        where, within = f"{self.url}/{key}", self._patience.seconds(self._deadline, size) if size else self._deadline
        slow = False
        try:
            async with deadline or asyncio.timeout(within):
                for pause in (*_PAUSES, None):
                    try:
                        result = await action()
                    except s3_errors.FAILURES as error:
                        meaning = s3_errors.meaning(error, verb, where, worked=self._worked)
                        slow = slow or isinstance(error, ReadTimeoutError)
                        if pause is None or not meaning.again:
                            raise meaning.error from error
                        await asyncio.sleep(pause)
                    else:
                        self._worked = self._worked or result is not None  # a HEAD finds nothing in a bucket that is not there
                        slow = False
                        return result
                raise AssertionError
        except TimeoutError:
            slow = True
            raise Unavailable(
                f"{where}: cannot {verb}{f' {size} bytes' if size else ''}: no answer within {within:.3g} s",
                hint="check the endpoint and the network",
            ) from None
        finally:
            if slow and size:
                self._patience.late()

    async def _range(self, name: str, start: int, length: int | None, deadline: asyncio.Timeout | None = None) -> bytes | None:
        """What has arrived puts ``deadline`` off."""
        asked: dict[str, str] = {}
        if start < 0:
            asked["Range"] = f"bytes={start}"
        elif start or length is not None:
            asked["Range"] = f"bytes={start}-{'' if length is None else start + length - 1}"
        try:
            answer = await self._client.get_object(Bucket=self._bucket, Key=name, **asked)  # type: ignore[arg-type]
        except s3_errors.FAILURES as error:
            if s3_errors.code_of(error) == "NoSuchKey":
                return None
            if s3_errors.status_of(error) == 416:
                return b""
            raise
        _of_object(answer)
        whole = answer["ResponseMetadata"]["HTTPStatusCode"] == 200
        if not whole and _begins_elsewhere(answer.get("ContentRange", ""), start):
            raise s3_errors.NoStoreAnswer("it is another range than the one that was asked for")
        # A server that knows no ranges sends everything.
        most = sys.maxsize if length is None or (whole and start < 0) else length + (start if whole else 0)
        pieces: list[bytes] = []
        began, received = asyncio.get_running_loop().time(), 0
        async with answer["Body"] as body:
            while piece := await body.read(_PIECE):
                pieces.append(piece)
                received += len(piece)
                if received >= most:
                    break
                if deadline is not None:
                    deadline.reschedule(began + self._patience.longest(self._deadline, received))
        data = b"".join(pieces)
        if len(data) != answer["ContentLength"] and received < most:
            raise aiohttp.ClientPayloadError("the answer is shorter than it says")
        if whole and asked:
            data = data[start:]
        return data if length is None else data[:length]

    async def _page(self, prefix: str, after: str, wanted: int, token: str, tokens: set[str]) -> tuple[_Keys, str]:
        """Keys, and the token of the next page, which none of ``tokens`` may be; empty: this was the last."""
        place: dict[str, str] = {"ContinuationToken": token} if token else {"StartAfter": after}
        answer = await self._client.list_objects_v2(Bucket=self._bucket, Prefix=prefix, MaxKeys=wanted, **place)  # type: ignore[arg-type]
        keys, following = [item["Key"] for item in answer.get("Contents", [])], answer.get("NextContinuationToken", "")
        if "IsTruncated" not in answer:
            raise s3_errors.NoStoreAnswer("it is no list")
        if (answer["IsTruncated"] and not following) or following in tokens:
            raise s3_errors.NoStoreAnswer("a list that is cut off, or goes on without end")
        if not all(key.startswith(prefix) for key in keys):
            raise s3_errors.NoStoreAnswer("a list of other keys than those that were asked for")
        return keys, following


class _HttpSession(AIOHTTPSession):
    async def _get_session(self, proxy_url: Any) -> aiohttp.ClientSession:
        session: aiohttp.ClientSession = await super()._get_session(proxy_url)  # type: ignore[misc]
        session._retry_connection = False  # noqa: SLF001 -- there is no public switch; a contract test counts the requests
        return session


class _Credentials(AioCredentials):
    """Reads both references for every request, so that a rotated file is taken over."""

    def __init__(self, access: Secret, secret: Secret) -> None:
        self._access, self._secret = access, secret
        super().__init__(access.read(), secret.read(), method="archive.s3")

    async def get_frozen_credentials(self) -> ReadOnlyCredentials:  # type: ignore[override]
        return ReadOnlyCredentials(self._access.read(), self._secret.read(), None, None)


class _Provider:
    METHOD = CANONICAL_NAME = "archive.s3"

    def __init__(self, access: Secret, secret: Secret) -> None:
        self._credentials = _Credentials(access, secret)

    async def load(self) -> _Credentials:
        return self._credentials


def _of_object(answer: _Answer) -> _Answer:
    """``answer``, when it is about an object: every store names the object's tag then."""
    if not answer.get("ETag"):
        raise s3_errors.NoStoreAnswer("it says nothing of an object")
    return answer


def _begins_elsewhere(said: str, start: int) -> bool:
    """Whether ``said``, a Content-Range, is another range than the one from ``start``; False when it is none that can be read."""
    found = _CONTENT_RANGE.fullmatch(said)
    if found is None:
        return False
    first, size = int(found[1]), int(found[2])
    return first != (start if start >= 0 else max(0, size + start))


def _sha256(data: bytes) -> str:
    return base64.b64encode(hashlib.sha256(data).digest()).decode()


def _check(options: S3Options) -> None:
    if bool(options.access_key) != bool(options.secret_key):
        raise Invalid("archive.s3: one of access_key and secret_key is missing", hint="set both, or neither for the usual AWS chain")
    if options.ca_file and not Path(options.ca_file).is_file():
        raise Invalid(f"archive.s3.ca_file: there is no file {options.ca_file}", hint="name a PEM file with the authorities to trust")
    if not options.endpoint:
        return
    parts = urlsplit(options.endpoint)
    if parts.scheme not in ("http", "https") or not parts.hostname or parts.username or parts.query:
        raise Invalid("archive.s3.endpoint: not a URL of an endpoint", hint="write https://host or https://host:port, without credentials")
    if parts.scheme == "http" and not options.allow_http:
        raise Invalid(
            f"archive.s3.endpoint: {parts.hostname} would be reached without TLS", hint="use https://, or set archive.s3.allow_http: true"
        )

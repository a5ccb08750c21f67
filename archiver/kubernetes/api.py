"""The API server over HTTP: authenticated by kubernetes_asyncio, read raw.

kubernetes_asyncio finds configuration and credentials (service account, kubeconfig, exec plug-ins); its own watch and list calls lose
data and are not used (``docs/design/0004-kubernetes.md``). This is the only file that knows the two drivers.

Credentials are renewed where they are used, before a request: a service account's token is read again every minute, an exec plug-in
runs again shortly before its token expires, a kubeconfig is read again every minute. An answer of 401 renews at once.
"""

from __future__ import annotations

import asyncio
import hashlib
import os
import ssl
import urllib.parse
import urllib.request
from collections.abc import AsyncIterator, Mapping
from contextlib import asynccontextmanager
from pathlib import Path
from typing import TYPE_CHECKING, Any

import aiohttp
from kubernetes_asyncio.client import ApiClient, Configuration
from kubernetes_asyncio.client.rest import RESTClientObject
from kubernetes_asyncio.config import ConfigException, load_incluster_config, load_kube_config
from kubernetes_asyncio.config.incluster_config import SERVICE_HOST_ENV_NAME, SERVICE_TOKEN_FILENAME

from archiver import __version__
from archiver.errors import Invalid, Unavailable
from archiver.kubernetes.answer import Answer, TooLarge, not_an_api_server
from archiver.kubernetes.page_size import SINGLE_BYTES
from archiver.kubernetes.retry_after import of_header

if TYPE_CHECKING:
    from archiver.clock import Clock

_RENEW_SECONDS = 60.0
_RENEW_AFTER_401_SECONDS = 5.0
_CONNECT_SECONDS = 10.0
_AUTHORIZED_SECONDS = 5.0
_READ_BYTES = 2_097_152
"""As kubernetes_asyncio has it: objects may be larger than aiohttp's own buffer."""
_TOO_LARGE = "one object or answer is larger than anything that an API server holds; leave its kind out of resources"
_HINT = "is the API server reachable from here, and is the kubeconfig's server right?"


class Response:
    """A response that is still being received."""

    def __init__(self, response: aiohttp.ClientResponse, server: str) -> None:
        self._response = response
        self._server = server
        self.status = response.status
        self.retry_after = _retry_after(response)

    async def chunk(self) -> bytes:
        """What has arrived; waits for something. Empty: the response ended in order. ``Unavailable`` when it broke off."""
        try:
            return await self._response.content.readany()
        except (aiohttp.ClientError, OSError) as error:
            raise _broken(self._server, error) from None

    async def body(self, most: int = SINGLE_BYTES) -> bytes:
        """The rest of it. ``TooLarge`` when that is more than ``most`` bytes, ``Unavailable`` when it broke off."""
        pieces: list[bytes] = []
        size = 0
        while piece := await self.chunk():
            size += len(piece)
            if size > most:
                raise TooLarge(f"{self._server} answers with more than {most >> 20} MiB", hint=_TOO_LARGE)
            pieces.append(piece)
        return b"".join(pieces)


class Api:
    """One API server, one session, any number of requests and watches at a time."""

    def __init__(self, kubeconfig: str, context: str, clock: Clock) -> None:
        self._kubeconfig = kubeconfig
        self._context = context
        self._clock = clock
        self._in_cluster = not kubeconfig and not context and _in_cluster()
        self._configuration: Any = None
        self._loader: Any = None
        self._client: ApiClient | None = None
        self._loaded = 0.0
        self._renewing = asyncio.Lock()
        self._credentials: dict[str, str] = {}
        self._authorized = float("-inf")
        self._certificate = ""
        self.server = ""
        """URL of the API server."""
        self.authority = ""
        """SHA-256 of the configured CA bundle, 16 hex digits; empty without one."""

    @classmethod
    async def open(cls, clock: Clock, *, kubeconfig: str = "", context: str = "") -> Api:
        """Find configuration and credentials. Nothing is asked of the server. ``Invalid`` when there are none or they are wrong."""
        api = cls(kubeconfig, context, clock)
        await api._load()
        configuration = api._configuration
        api.server = str(configuration.host)
        api.authority, api._certificate = await asyncio.to_thread(_certificates, configuration)
        # One connection per watch: the default of 100 would let the 101st wait in silence.
        configuration.connection_pool_maxsize = 0
        try:
            api._client = ApiClient(configuration)
            _keep_to_one_proxy(api._client.rest_client, api.server)
        except (OSError, ssl.SSLError) as error:
            raise Invalid(
                f"the certificates for {api.server} cannot be used: {type(error).__name__}", hint="see the kubeconfig's certificates"
            ) from None
        return api

    async def close(self) -> None:
        """Close every connection. Responses that are being received break off."""
        if self._client is not None:
            await self._client.close()

    async def outdated(self) -> bool:
        """Whether the configuration by now names another authority or client certificate than this session was opened with; False when it
        cannot be read.
        """
        try:
            configuration, _ = await self._configured()
            return await asyncio.to_thread(_certificates, configuration) != (self.authority, self._certificate)
        except (Invalid, OSError):
            return False

    async def get(self, path: str, params: Mapping[str, str] | None = None, *, seconds: float = 30.0, most: int = SINGLE_BYTES) -> Answer:
        """One GET, read whole within ``seconds``, whatever its status. ``Unavailable`` when no complete answer comes, or what is no JSON
        object with a status of success, ``TooLarge`` when it has more than ``most`` bytes.
        """
        return await self._whole("GET", path, params, None, seconds, most)

    async def post(self, path: str, body: bytes, *, seconds: float = 30.0) -> Answer:
        """One POST of a JSON body; otherwise as ``get``."""
        return await self.send("POST", path, body, seconds=seconds)

    async def send(
        self,
        method: str,
        path: str,
        body: bytes | None = None,
        params: Mapping[str, str] | None = None,
        *,
        seconds: float = 30.0,
        most: int = SINGLE_BYTES,
    ) -> Answer:
        """One request that changes something, its body JSON; otherwise as ``get``. After ``Unavailable`` it may have been done or not."""
        return await self._whole(method, path, params, body, seconds, most)

    async def _whole(
        self, method: str, path: str, params: Mapping[str, str] | None, body: bytes | None, seconds: float, most: int
    ) -> Answer:
        try:
            async with asyncio.timeout(seconds), self.receive(method, path, params, body) as response:
                answer = Answer(response.status, await response.body(most), response.retry_after)
        except TimeoutError:
            raise Unavailable(f"{self.server} did not answer within {seconds:g} s", hint=_HINT) from None
        if 200 <= answer.status < 300 and not answer.body[:64].lstrip().startswith(b"{"):
            raise not_an_api_server(self.server)
        return answer

    @asynccontextmanager
    async def receive(
        self, method: str, path: str, params: Mapping[str, str] | None = None, body: bytes | None = None, *, identity: bool = False
    ) -> AsyncIterator[Response]:
        """Send one request; its response as it arrives, without any deadline of its own. Leaving the context ends the connection unless
        the response was read to its end. ``identity``: ask for no compression. ``Unavailable`` when the server does not answer.
        """
        response = await self._send(method, path, params, body, identity=identity)
        if response.status == 401 and await self._renewed():
            response.close()
            response = await self._send(method, path, params, body, identity=identity)
        try:
            yield Response(response, self.server)
        finally:
            response.close()

    async def _send(
        self, method: str, path: str, params: Mapping[str, str] | None, body: bytes | None, *, identity: bool
    ) -> aiohttp.ClientResponse:
        assert self._client is not None
        headers = await self._headers(identity=identity)
        rest: RESTClientObject = self._client.rest_client
        options: dict[str, Any] = {}
        if rest.proxy:
            options = {"proxy": rest.proxy, "proxy_headers": rest.proxy_headers}
        if rest.server_hostname:
            options["server_hostname"] = rest.server_hostname
        if body is not None:
            headers["Content-Type"] = "application/json"
        session: aiohttp.ClientSession = rest.pool_manager
        timeout = aiohttp.ClientTimeout(total=None, sock_connect=_CONNECT_SECONDS)
        try:
            return await session.request(
                method, self.server + path, params=params, data=body, headers=headers, timeout=timeout, allow_redirects=False, **options
            )
        except (aiohttp.ClientError, OSError) as error:
            raise _broken(self.server, error) from None

    async def _headers(self, *, identity: bool) -> dict[str, str]:
        await self._refresh()
        headers = {"Accept": "application/json", "User-Agent": f"archiver/{__version__}", **await self._authorization()}
        if identity:
            headers["Accept-Encoding"] = "identity"
        return headers

    async def _authorization(self) -> dict[str, str]:
        """Asked for anew every few seconds only: a restore sends thousands of requests."""
        assert self._client is not None
        now = self._clock.monotonic()
        if now - self._authorized < _AUTHORIZED_SECONDS:
            return self._credentials
        headers: dict[str, Any] = {}
        try:
            await self._client.update_params_for_auth(headers, [], ["BearerToken"])
        except (ConfigException, OSError) as error:
            raise Unavailable(f"the token for {self.server} cannot be read: {type(error).__name__}") from None
        # kubernetes_asyncio copies a missing token as None.
        self._credentials = {name: value for name, value in headers.items() if value is not None}
        self._authorized = now
        return self._credentials

    async def _refresh(self) -> None:
        if self._in_cluster or self._clock.monotonic() - self._loaded < _RENEW_SECONDS:
            return
        async with self._renewing:
            if self._clock.monotonic() - self._loaded >= _RENEW_SECONDS:
                await self._reload()

    async def _renewed(self) -> bool:
        async with self._renewing:
            if self._clock.monotonic() - self._loaded >= _RENEW_AFTER_401_SECONDS:
                await self._reload(force=True)
        return True

    async def _reload(self, *, force: bool = False) -> None:
        plugin = self._loader is not None and getattr(self._loader, "exec_plugin_expiry", None) is not None
        old = self._configuration
        try:
            if plugin and not force:
                await self._loader.load_from_exec_plugin()
                old.api_key["BearerToken"] = self._loader.token
                self._loaded = self._clock.monotonic()
            elif force or not self._runs_plugin():
                await self._load()
                old.api_key.clear()
                old.api_key.update(self._configuration.api_key)
                old.refresh_api_key_hook = self._configuration.refresh_api_key_hook
                self._configuration = old
        except (Invalid, ConfigException, OSError, AttributeError) as error:
            self._configuration = old
            raise Unavailable(
                f"the credentials for {self.server} cannot be renewed: {type(error).__name__}", hint="see the kubeconfig or the plug-in"
            ) from None
        finally:
            self._authorized = float("-inf")

    def _runs_plugin(self) -> bool:
        user = getattr(self._loader, "_user", None)
        return user is not None and "exec" in user

    async def _load(self) -> None:
        self._configuration, self._loader = await self._configured()
        self._loaded = self._clock.monotonic()

    async def _configured(self) -> tuple[Any, Any]:
        """What the service account or the kubeconfig says now, and the loader that renews it."""
        # The class's metaclass hands out copies of a default that other code may have set.
        configuration, loader = type.__call__(Configuration), self._loader
        try:
            if self._in_cluster:
                load_incluster_config(client_configuration=configuration)  # type: ignore[no-untyped-call]
            else:
                # Absent section "users" raises TypeError there: a kubeconfig without credentials.
                loader = await load_kube_config(
                    config_file=self._kubeconfig or None,
                    context=self._context or None,
                    client_configuration=configuration,
                    persist_config=False,
                )
        except Exception as error:  # noqa: BLE001 -- the loader raises whatever a wrong file makes it stumble over
            where = "the service account" if self._in_cluster else f"kubeconfig {self._kubeconfig or 'of this user'}"
            detail = str(error) if isinstance(error, ConfigException) else type(error).__name__
            raise Invalid(
                f"{where} gives no access to a cluster: {detail}", hint="set kubeconfig and context, or run with a service account"
            ) from None
        return configuration, loader


def _certificates(configuration: Any) -> tuple[str, str]:
    """Fingerprints of the authority and of the client certificate; empty for none."""
    files = (configuration.ssl_ca_cert, configuration.cert_file)
    authority, client = (hashlib.sha256(Path(file).read_bytes()).hexdigest()[:16] if file else "" for file in files)
    return authority, client


def _in_cluster() -> bool:
    return bool(os.environ.get(SERVICE_HOST_ENV_NAME)) and Path(SERVICE_TOKEN_FILENAME).is_file()


def _keep_to_one_proxy(rest: RESTClientObject, server: str) -> None:
    """Where the environment names no proxy for this server, do not have it looked up, in a thread, for every request."""
    host = urllib.parse.urlsplit(server).hostname or ""
    if rest.proxy or (urllib.request.getproxies() and not urllib.request.proxy_bypass(host)):
        return
    session: aiohttp.ClientSession = rest.pool_manager
    rest.pool_manager = aiohttp.ClientSession(connector=session.connector, read_bufsize=_READ_BYTES)
    session.detach()


def _retry_after(response: aiohttp.ClientResponse) -> float:
    return of_header(response.headers.get("Retry-After", ""))


def _broken(server: str, error: Exception) -> Unavailable:
    return Unavailable(f"{server} broke off: {type(error).__name__}", hint=_HINT)

"""Who is answered: whoever has the token, or is known to the API server, under a name of this server, with GET and nothing else.

The script and the style of the page hold no data and are given to anybody. The token stands behind ``#`` in the address, so that a browser
sends it to nobody by itself; the page's script sends it with each question, in a header that no other page can make a browser send here.
A cookie would reach every server of this machine: cookies know no ports.
"""

from __future__ import annotations

import hmac
from collections.abc import Awaitable, Callable, Collection

from aiohttp import web

HEADERS = {
    "Content-Security-Policy": (
        "default-src 'self'; object-src 'none'; base-uri 'none'; form-action 'none'; frame-ancestors 'none'; "
        "require-trusted-types-for 'script'; trusted-types 'none'"
    ),
    "X-Content-Type-Options": "nosniff",
    "X-Frame-Options": "DENY",
    "Referrer-Policy": "no-referrer",
    "Cross-Origin-Opener-Policy": "same-origin",
    "Cross-Origin-Resource-Policy": "same-origin",
    "Cache-Control": "no-store",
}
"""Of every answer. With trusted types, the browser refuses to make HTML of any text, wherever a script would try."""
API = "/api/"
"""What begins so is answered to the token only."""

_Handler = Callable[[web.Request], Awaitable[web.StreamResponse]]


class Guard:
    """Middleware that refuses before anything is read."""

    def __init__(self, token: str | None, names: Collection[str] = ()) -> None:
        """``token``: ``None``: whose it is, the API server tells later. ``names``: hosts, without a port, under which the page may be asked
        for beside those of this machine.
        """
        self._token = token.encode() if token is not None else None
        self._names = {"127.0.0.1", "localhost", "[::1]", *(f"[{name}]".lower() if ":" in name else name.lower() for name in names)}

    @web.middleware
    async def middleware(self, request: web.Request, handler: _Handler) -> web.StreamResponse:
        """Answer, or say why not."""
        try:
            self._require(request)
            answer = await handler(request)
        except web.HTTPException as error:
            error.headers.update(HEADERS)
            raise
        answer.headers.update(HEADERS)
        return answer

    def _require(self, request: web.Request) -> None:
        if request.method != "GET":
            raise web.HTTPMethodNotAllowed(request.method, ["GET"], text="only GET\n")
        if not self.is_ours(request.headers.get("Host", "")):
            # Else a page of elsewhere, whose name leads here for a moment, would read as if it were ours.
            raise web.HTTPForbidden(text="this server has another name: ask for the address that it printed, or give --name\n")
        if request.path.startswith(API):
            if request.headers.get("Sec-Fetch-Site", "same-origin") not in ("same-origin", "none"):
                raise web.HTTPForbidden(text="another page may not ask\n")
            if self._token is not None and not self.knows(request.headers.get("Authorization", "")):
                raise web.HTTPUnauthorized(headers={"WWW-Authenticate": "Bearer"}, text="open the address that `archiver web` printed\n")

    def is_ours(self, host: str) -> bool:
        """Whether ``Host`` names this server, on whatever port it is reached."""
        name, sign, port = host.rpartition(":")
        if not sign or not port.isdecimal() or (name.startswith("[") and not name.endswith("]")):
            name = host
        return name.lower() in self._names

    def knows(self, authorization: str) -> bool:
        """Whether it is ``Bearer`` and the token; takes as long for a wrong one."""
        kind, token = bearer(authorization)
        return hmac.compare_digest(token.encode("utf-8", "replace"), self._token or b"") and bool(self._token) and kind


def bearer(authorization: str) -> tuple[bool, str]:
    """Whether it is ``Bearer``, and the token."""
    kind, _, token = authorization.partition(" ")
    return kind.lower() == "bearer", token.strip()

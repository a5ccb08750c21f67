"""What a pooler does to the start of a session, as PgBouncer 1.18 does it: settings and ``replication`` are refused, or dropped."""

from __future__ import annotations

import contextlib
import socket
import struct
import threading
from collections.abc import Sequence
from typing import Self

_SSL, _GSS = 80877103, 80877104
_KNOWN = {"user", "database", "application_name", "client_encoding"}


class Pooler:
    """Hands sessions on to a server on loopback. Start-up parameters in ``dropped`` are left out; others that it does not know are refused."""

    def __init__(self, port: int, dropped: Sequence[str] = ()) -> None:
        self._server, self._dropped = port, set(dropped)
        self._listener = socket.create_server(("127.0.0.1", 0))
        self.port: int = self._listener.getsockname()[1]
        self._open: list[socket.socket] = []

    def __enter__(self) -> Self:
        threading.Thread(target=self._accept, daemon=True).start()
        return self

    def __exit__(self, *_: object) -> None:
        for each in [self._listener, *self._open]:
            with contextlib.suppress(OSError):
                each.shutdown(socket.SHUT_RDWR)
            each.close()

    def _accept(self) -> None:
        with contextlib.suppress(OSError):
            while True:
                client, _ = self._listener.accept()
                self._open.append(client)
                threading.Thread(target=self._serve, args=(client,), daemon=True).start()

    def _serve(self, client: socket.socket) -> None:
        with contextlib.suppress(OSError), client:
            while True:
                (length, code) = struct.unpack(">II", _exactly(client, 8))
                if code not in (_SSL, _GSS):
                    break
                client.sendall(b"N")
            words = _exactly(client, length - 8).split(b"\0")
            given = {words[n].decode(): words[n + 1] for n in range(0, len(words) - 2, 2)}
            for name in given.keys() - _KNOWN - self._dropped:
                text = b"SFATAL\0VFATAL\0C08P01\0Munsupported startup parameter: " + name.encode() + b"\0\0"
                client.sendall(b"E" + struct.pack(">I", len(text) + 4) + text)
                return
            kept = b"".join(name.encode() + b"\0" + value + b"\0" for name, value in given.items() if name in _KNOWN) + b"\0"
            with socket.create_connection(("127.0.0.1", self._server)) as server:
                self._open.append(server)
                server.sendall(struct.pack(">II", len(kept) + 8, code) + kept)
                threading.Thread(target=_pipe, args=(client, server), daemon=True).start()
                _pipe(server, client)


def _exactly(peer: socket.socket, size: int) -> bytes:
    data = b""
    while len(data) < size:
        more = peer.recv(size - len(data))
        if not more:
            raise ConnectionResetError
        data += more
    return data


def _pipe(source: socket.socket, sink: socket.socket) -> None:
    with contextlib.suppress(OSError):
        while data := source.recv(65536):
            sink.sendall(data)
        sink.shutdown(socket.SHUT_WR)

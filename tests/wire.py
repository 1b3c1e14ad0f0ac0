"""Connections to a server that a test may cut at a chosen moment."""

from __future__ import annotations

import re
import socket
import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from dataclasses import dataclass, field
from enum import Enum

COMMIT = b"COMMIT\0"
"""In what a client sends when it commits."""


class Cut(Enum):
    """What becomes of a message to the server, and of its connection.

    BEFORE: the server never gets it, and sees the client gone. UNSEEN: it never gets it, and sees nothing.
    AFTER: it does what it says, and the answer is lost.
    """

    BEFORE = "before"
    UNSEEN = "unseen"
    AFTER = "after"


@dataclass
class Wire:
    """A relay to a server. `cut` sees what a client sends, and may have the connection cut there."""

    target: int
    cut: Callable[[bytes], Cut | None] = lambda sent: None
    cuts: list[Cut] = field(default_factory=list[Cut])
    _listener: socket.socket = field(default_factory=socket.socket)
    _open: list[socket.socket] = field(default_factory=list[socket.socket])

    @property
    def port(self) -> int:
        return self._listener.getsockname()[1]

    def url(self, url: str) -> str:
        """The URL of a database on the server, through this wire."""
        return re.sub(r":\d+/", f":{self.port}/", url)

    @contextmanager
    def laid(self) -> Iterator[Wire]:
        self._listener.bind(("127.0.0.1", 0))
        self._listener.listen(64)
        threading.Thread(target=self._accept, daemon=True).start()
        try:
            yield self
        finally:
            for one in [self._listener, *self._open]:
                _close(one)

    def _accept(self) -> None:
        while True:
            try:
                client, _ = self._listener.accept()
            except OSError:
                return
            threading.Thread(target=self._relay, args=(client,), daemon=True).start()

    def _relay(self, client: socket.socket) -> None:
        try:
            server = socket.create_connection(("127.0.0.1", self.target))
        except OSError:
            _close(client)
            return
        self._open += [client, server]
        answers = threading.Thread(target=_pump, args=(server, client), daemon=True)
        answers.start()
        with suppress(OSError):
            while sent := client.recv(1 << 16):
                cut = self.cut(sent)
                if cut is None:
                    server.sendall(sent)
                    continue
                self.cuts.append(cut)
                _close(client)
                if cut is Cut.UNSEEN:
                    return
                if cut is Cut.AFTER:
                    server.sendall(sent)
                    server.shutdown(socket.SHUT_WR)
                    answers.join(10)
                break
        _close(client)
        _close(server)


def _pump(source: socket.socket, sink: socket.socket) -> None:
    """On to the end of the source, whatever becomes of the sink."""
    with suppress(OSError):
        while data := source.recv(1 << 16):
            with suppress(OSError):
                sink.sendall(data)
    _close(sink)


def _close(one: socket.socket) -> None:
    with suppress(OSError):
        one.shutdown(socket.SHUT_RDWR)
    one.close()

"""The way from workers to the API server, which can be shut: nobody else who uses the cluster is cut off."""

from __future__ import annotations

import socket
import threading
from contextlib import suppress
from pathlib import Path
from typing import Any, Self
from urllib.parse import urlsplit

import yaml

_PIECE = 1 << 16
_PATIENCE = 10.0


class Doorway:
    """While it is entered: passes on what comes, until it is `shut`. `kubeconfig` leads through it."""

    def __init__(self, original: Path, kubeconfig: Path) -> None:
        content: Any = yaml.safe_load(original.read_text("utf-8"))
        context = next(one for one in content["contexts"] if one["name"] == content["current-context"])
        wanted = context["context"]["cluster"]
        cluster = next(one for one in content["clusters"] if one["name"] == wanted)["cluster"]
        server = urlsplit(cluster["server"])
        self._server = (server.hostname or "", server.port or 443)
        self._lock = threading.Lock()
        self._links: set[socket.socket] = set()
        self._listener: socket.socket | None = None
        self._port = 0
        self.open()
        cluster.setdefault("tls-server-name", server.hostname)
        cluster["server"] = f"https://127.0.0.1:{self._port}"
        kubeconfig.write_text(yaml.safe_dump(content), "utf-8")
        self.kubeconfig = kubeconfig

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *error: object) -> None:
        self.shut()

    def open(self) -> None:
        """Idempotent."""
        if self._listener is None:
            self._listener = socket.create_server(("127.0.0.1", self._port), backlog=128)
            self._port = self._listener.getsockname()[1]
            threading.Thread(target=self._accept, args=(self._listener,), daemon=True).start()

    def shut(self) -> None:
        """Connections end, and new ones are refused."""
        listener, self._listener = self._listener, None
        if listener is not None:
            with suppress(OSError):
                listener.shutdown(socket.SHUT_RDWR)
            listener.close()
        with self._lock:
            for link in self._links:
                with suppress(OSError):
                    link.shutdown(socket.SHUT_RDWR)

    def _accept(self, listener: socket.socket) -> None:
        with suppress(OSError):
            while True:
                client, _ = listener.accept()
                threading.Thread(target=self._serve, args=(listener, client), daemon=True).start()

    def _serve(self, listener: socket.socket, client: socket.socket) -> None:
        with client, suppress(OSError), socket.create_connection(self._server, _PATIENCE) as server:
            server.settimeout(None)
            with self._lock:
                if self._listener is not listener:
                    return
                self._links |= {client, server}
            back = threading.Thread(target=_pass_on, args=(server, client), daemon=True)
            back.start()
            _pass_on(client, server)
            back.join()
            with self._lock:
                self._links -= {client, server}


def _pass_on(source: socket.socket, target: socket.socket) -> None:
    """Until either ends; then both do."""
    with suppress(OSError):
        while piece := source.recv(_PIECE):
            target.sendall(piece)
    for one in (source, target):
        with suppress(OSError):
            one.shutdown(socket.SHUT_RDWR)

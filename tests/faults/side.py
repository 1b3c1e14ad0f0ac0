"""Side effects of pods: each line that a component sends is appended to a file of its run."""

from __future__ import annotations

import threading
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path


@dataclass
class Side:
    """One for all runs of a session; `place` names the file of a run, and `url` where its pods send to."""

    host: str
    port: int
    folder: Path
    _lock: threading.Lock = field(default_factory=threading.Lock)

    def url(self, name: str) -> str:
        return f"http://{self.host}:{self.port}/{name}"

    def place(self, name: str) -> Path:
        return self.folder / f"{name}.side"

    def append(self, name: str, line: bytes) -> None:
        with self._lock, self.place(name).open("ab") as file:
            file.write(line + b"\n")


@contextmanager
def receiving(host: str, folder: Path) -> Iterator[Side]:
    side: Side

    class Handler(BaseHTTPRequestHandler):
        def do_POST(self) -> None:
            size = int(self.headers["Content-Length"])
            line = self.rfile.read(size)
            if len(line) < size:
                return  # the pod was killed before it had said so
            side.append(self.path.strip("/"), line)
            self.send_response(200)
            self.send_header("Content-Length", "0")
            self.end_headers()

        def log_message(self, format: str, *args: object) -> None:
            return

    with ThreadingHTTPServer((host, 0), Handler) as server:
        side = Side(host, server.server_port, folder)
        thread = threading.Thread(target=server.serve_forever, name="test-side", daemon=True)
        thread.start()
        try:
            yield side
        finally:
            server.shutdown()
            thread.join()

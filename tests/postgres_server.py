"""PostgreSQL servers that a test may stop and kill, and connections that it may cut at a chosen moment."""

from __future__ import annotations

import os
import re
import shutil
import socket
import subprocess
import tempfile
import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from dataclasses import dataclass, field
from enum import Enum
from pathlib import Path
from typing import LiteralString, cast

import psycopg

from penstock.store import upkeep
from tests.services import need


@dataclass
class PostgresServer:
    """A server of one's own. `folder` holds its data, its log, and its socket."""

    folder: Path
    port: int

    @property
    def data(self) -> Path:
        return self.folder / "postgres" / "data"

    @property
    def url(self) -> str:
        return self.url_of("penstock")

    def url_of(self, database: str, user: str = "postgres", password: str = "") -> str:
        who = f"{user}:{password}" if password else user
        return f"postgresql://{who}@127.0.0.1:{self.port}/{database}"

    def start(self) -> None:
        """Comes back when it answers. Started before, it stays as it is."""
        self._call("start")

    def stop(self) -> None:
        """Open transactions are rolled back, connections closed; comes back when it is down."""
        self._call("stop")

    def crash(self) -> None:
        """As when its machine went down: no connection is told, and the next start recovers."""
        pid = int((self.data / "postmaster.pid").read_text().split("\n", 1)[0])
        processes = [pid, *_children(pid)]
        for one in processes:
            with suppress(ProcessLookupError):
                os.kill(one, 9)
        while any(_alive(one) for one in processes):
            threading.Event().wait(0.01)
        # Where nobody buries the dead, their ids would be taken for those of the living.
        for left in [self.data / "postmaster.pid", *self.data.parent.glob(".s.PGSQL.*")]:
            left.unlink(missing_ok=True)

    def execute(self, *statements: str, database: str = "postgres") -> None:
        with psycopg.connect(self.url_of(database), autocommit=True) as connection:
            for statement in statements:
                connection.execute(cast("LiteralString", statement))

    def allow(self, *rules: str) -> None:
        """Put lines before those of pg_hba.conf."""
        file = self.data / "pg_hba.conf"
        file.write_text("\n".join([*rules, file.read_text()]))
        self.execute("SELECT pg_reload_conf()")

    def _call(self, verb: str) -> None:
        subprocess.run(
            [f"{need('servers')}/postgres", verb],
            env={**os.environ, "SERVICES_STATE": str(self.folder), "PG_PORT": str(self.port)},
            check=True,
            stdout=subprocess.DEVNULL,
            timeout=120,
        )


@contextmanager
def private_postgres() -> Iterator[PostgresServer]:
    """A new server with a database `penstock` that has the schema; gone afterwards. Needs `servers`."""
    folder = Path(tempfile.mkdtemp(prefix="penstock-pg-", dir="/tmp"))
    folder.chmod(0o755)  # the server does not run as root
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        server = PostgresServer(folder, free.getsockname()[1])
    try:
        server.start()
        server.execute("CREATE DATABASE penstock")
        upkeep.upgrade(server.url)
        yield server
    finally:
        server.stop()
        shutil.rmtree(folder, ignore_errors=True)


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


def _children(pid: int) -> list[int]:
    text = Path(f"/proc/{pid}/task/{pid}/children").read_text()
    return [int(one) for one in text.split()]


def _alive(pid: int) -> bool:
    try:
        return Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()[0] not in "ZX"
    except OSError:
        return False

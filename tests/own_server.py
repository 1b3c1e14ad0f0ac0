"""Servers of a test's own, to be stopped, killed and suspended; the service `servers` has their scripts."""

from __future__ import annotations

import os
import signal
import socket
import subprocess
from contextlib import suppress
from dataclasses import dataclass, field
from pathlib import Path

_PORTS = {"postgres": ("PG_PORT",), "minio": ("MINIO_PORT", "MINIO_CONSOLE_PORT"), "mlflow": ("MLFLOW_PORT",)}


@dataclass
class OwnServer:
    """`script` starts and stops it; its state lies below `folder`. It is not started yet."""

    script: Path
    folder: Path
    ports: dict[str, int] = field(default_factory=dict[str, int])

    def __post_init__(self) -> None:
        sockets = [socket.socket() for _ in _PORTS[self.name]]
        for variable, found in zip(_PORTS[self.name], sockets, strict=True):
            found.bind(("127.0.0.1", 0))
            self.ports[variable] = found.getsockname()[1]
        for found in sockets:
            found.close()

    @property
    def name(self) -> str:
        return self.script.name

    @property
    def port(self) -> int:
        return self.ports[_PORTS[self.name][0]]

    @property
    def url(self) -> str:
        """Of PostgreSQL: the database that is always there."""
        if self.name == "postgres":
            return f"postgresql://postgres@127.0.0.1:{self.port}/postgres"
        return f"http://127.0.0.1:{self.port}"

    def start(self) -> None:
        _end(self._begin("start"))

    def stop(self) -> None:
        """Also when it does not run."""
        pid = self.pid()
        self.resume()
        stopping = self._begin("stop")
        _bury(pid)
        _end(stopping)

    def crash(self) -> None:
        """All its processes end at once; PostgreSQL's by an immediate shutdown, without a checkpoint."""
        pid = self.pid()
        assert pid is not None
        if self.name == "postgres":
            os.kill(pid, signal.SIGQUIT)
            self.stop()
        else:
            os.killpg(pid, signal.SIGKILL)
            _bury(pid)

    def suspend(self) -> None:
        """From now on it takes connections and answers nothing."""
        self._signal(signal.SIGSTOP)

    def resume(self) -> None:
        self._signal(signal.SIGCONT)

    def pid(self) -> int | None:
        """Of its first process."""
        place = "data/postmaster.pid" if self.name == "postgres" else "pid"
        try:
            return int((self.folder / self.name / place).read_text().split()[0])
        except (FileNotFoundError, IndexError):
            return None

    def _signal(self, number: signal.Signals) -> None:
        pid = self.pid()
        if pid is not None and self.name != "postgres":
            with suppress(ProcessLookupError):
                os.killpg(pid, number)

    def _begin(self, verb: str) -> subprocess.Popen[str]:
        ports = {variable: str(port) for variable, port in self.ports.items()}
        environment = {**os.environ, "SERVICES_STATE": str(self.folder), **ports}
        return subprocess.Popen(
            [self.script, verb],
            env=environment,
            stdin=subprocess.DEVNULL,
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
            text=True,
        )


def _end(process: subprocess.Popen[str]) -> None:
    said, _ = process.communicate()
    assert process.returncode == 0, f"{process.args}: {said}"


def _bury(pid: int | None) -> None:
    """Where orphans come back to this process, a dead one seems alive until it is waited for."""
    if pid is not None:
        with suppress(ChildProcessError):
            os.waitpid(pid, 0)

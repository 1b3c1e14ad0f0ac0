"""Servers of a test's own, to be stopped, killed and suspended; the service `servers` has their scripts."""

from __future__ import annotations

import os
import random
import select
import shutil
import signal
import socket
import subprocess
import tempfile
from collections.abc import Iterator, Sequence
from contextlib import ExitStack, contextmanager, suppress
from dataclasses import dataclass, field
from pathlib import Path
from typing import ClassVar

from tests.services import need

_PATIENCE = 60.0
"""Seconds in which a killed process is gone."""


@dataclass
class OwnServer:
    """Its state lies below `folder`, which its operating-system user must reach. It is not started yet."""

    folder: Path
    ports: list[int] = field(default_factory=list[int])
    name: ClassVar[str]
    """Of its script."""
    variables: ClassVar[tuple[str, ...]]
    """What tells the script the ports, the one of the service first."""

    def __post_init__(self) -> None:
        self.ports = _free_ports(len(self.variables))

    @property
    def port(self) -> int:
        return self.ports[0]

    @property
    def url(self) -> str:
        return f"http://127.0.0.1:{self.port}"

    @property
    def state(self) -> Path:
        """The folder of its data, its log, and what it leaves while it runs."""
        return self.folder / self.name

    def settings(self) -> dict[str, str]:
        """What else its script is told."""
        return {}

    def start(self) -> None:
        """Comes back when it answers. Started before, it stays as it is."""
        _end(self._begin("start"))

    def stop(self) -> None:
        """Comes back when it is down, also when it did not run."""
        pid = self.pid()
        processes = _tree(pid) if pid is not None else []
        self.resume()
        stopping = self._begin("stop")
        for one in processes:
            _bury(one)
        _end(stopping)

    def crash(self) -> None:
        """As when its machine went down: nobody is told, and the next start recovers."""
        pid = self.pid()
        assert pid is not None, f"{self.name} does not run"
        _kill(_freeze(pid))
        for left in self._traces():
            left.unlink(missing_ok=True)

    def suspend(self) -> None:
        """From now on it takes connections and answers nothing."""
        pid = self.pid()
        if pid is not None:
            _freeze(pid)

    def resume(self) -> None:
        pid = self.pid()
        if pid is not None:
            for one in _tree(pid):
                _signal(one, signal.SIGCONT)

    def pid(self) -> int | None:
        """Of its first process."""
        try:
            return int(self._traces()[0].read_text().split()[0])
        except (FileNotFoundError, IndexError):
            return None

    def _traces(self) -> Sequence[Path]:
        """What says that it runs, the file with its process id first.

        Where nobody buries the dead, that id would be taken for one of the living.
        """
        return [self.state / "pid"]

    def _begin(self, verb: str) -> subprocess.Popen[str]:
        ports = dict(zip(self.variables, map(str, self.ports), strict=True))
        return subprocess.Popen(
            [Path(need("servers")) / self.name, verb],
            env={**os.environ, "SERVICES_STATE": str(self.folder), **ports, **self.settings()},
            stdin=subprocess.DEVNULL,
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
            text=True,
        )


class OwnMinio(OwnServer):
    name = "minio"
    variables = ("MINIO_PORT", "MINIO_CONSOLE_PORT")


class OwnMlflow(OwnServer):
    name = "mlflow"
    variables = ("MLFLOW_PORT",)


@contextmanager
def own_folder() -> Iterator[Path]:
    """For the state of servers, which may run as users of their own."""
    folder = Path(tempfile.mkdtemp(prefix="penstock-servers-", dir="/var/tmp"))
    folder.chmod(0o755)
    try:
        yield folder
    finally:
        shutil.rmtree(folder, ignore_errors=True)


def _free_ports(count: int) -> list[int]:
    """Below those that outgoing connections get, so that none is taken while its server is down."""
    ports: list[int] = []
    with ExitStack() as held:
        while len(ports) < count:
            one = held.enter_context(socket.socket())
            with suppress(OSError):
                one.bind(("127.0.0.1", random.SystemRandom().randrange(20000, 30000)))
                ports.append(one.getsockname()[1])
    return ports


def _end(process: subprocess.Popen[str]) -> None:
    said, _ = process.communicate()
    assert process.returncode == 0, f"{process.args}: {said}"


def _tree(pid: int) -> list[int]:
    """The process and all below it."""
    found = [pid]
    for children in Path(f"/proc/{pid}/task").glob("*/children"):
        with suppress(OSError):
            found += [one for child in children.read_text().split() for one in _tree(int(child))]
    return found


def _freeze(pid: int) -> list[int]:
    """Suspend the process and all below it, so that none comes up meanwhile."""
    frozen: set[int] = set()
    while new := [one for one in _tree(pid) if one not in frozen]:
        for one in new:
            _signal(one, signal.SIGSTOP)
        frozen.update(new)
    return list(frozen)


def _kill(pids: list[int]) -> None:
    """Comes back when all of them are dead."""
    handles: list[int] = []
    try:
        for pid in pids:
            with suppress(ProcessLookupError):
                handles.append(os.pidfd_open(pid))
        for pid in pids:
            _signal(pid, signal.SIGKILL)
        for handle in handles:
            ended, _, _ = select.select([handle], [], [], _PATIENCE)
            assert ended, "a killed process does not die"
    finally:
        for handle in handles:
            os.close(handle)
    for pid in pids:
        _bury(pid)


def _signal(pid: int, number: signal.Signals) -> None:
    with suppress(ProcessLookupError):
        os.kill(pid, number)


def _bury(pid: int) -> None:
    """Where orphans come back to this process, a dead one seems alive until it is waited for."""
    with suppress(ChildProcessError):
        os.waitpid(pid, 0)

"""The node of the cluster, where it is a machine of ours: its parts can be killed, and started again."""

from __future__ import annotations

import os
import select
import signal
import subprocess
from pathlib import Path

import pytest

from tests.services import need

_PATIENCE = 60.0


class Node:
    """Skips the test where the cluster is not one that the services' scripts have started."""

    def __init__(self) -> None:
        self._state = Path(need("kubernetes")).parent
        self._script = Path(need("servers")) / "kubernetes" / "up"
        if not (self._script.exists() and self._place("apiserver").exists()):
            pytest.skip("the node of this cluster is not ours: nothing of it can be killed")

    def kill(self, part: str) -> None:
        """Comes back when it is dead."""
        pid = self._pid(part)
        handle = os.pidfd_open(pid)
        try:
            os.kill(pid, signal.SIGKILL)
            ended, _, _ = select.select([handle], [], [], _PATIENCE)
            assert ended, f"{part} does not end"
        finally:
            os.close(handle)

    def suspend(self, part: str) -> None:
        """From now on it takes connections and answers nothing."""
        os.kill(self._pid(part), signal.SIGSTOP)

    def resume(self, part: str) -> None:
        os.kill(self._pid(part), signal.SIGCONT)

    def mend(self) -> None:
        """Start what is dead; comes back when the node is ready."""
        done = subprocess.run(
            [self._script],
            env={**os.environ, "LOCALK8S_STATE": str(self._state)},
            stdin=subprocess.DEVNULL,
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
            text=True,
            timeout=2 * _PATIENCE,
        )
        assert done.returncode == 0, done.stdout

    def _pid(self, part: str) -> int:
        return int(self._place(part).read_text().split()[0])

    def _place(self, part: str) -> Path:
        return self._state / "run" / f"{part}.pid"

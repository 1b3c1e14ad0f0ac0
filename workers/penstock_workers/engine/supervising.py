"""The watcher beside a worker: a process of its own, so that neither has to bear what the other does."""

from __future__ import annotations

import logging
import subprocess
import sys
import threading
from contextlib import suppress
from typing import Final

_PAUSE_SECONDS: Final = 1.0
_END_SECONDS: Final = 10.0

logger = logging.getLogger(__name__)


class WatcherProcess:
    """Started, and started again when it dies, until `stop`. It ends when this process does: its standard
    input ends then.
    """

    def __init__(self, log_level: str) -> None:
        self._command = [sys.executable, "-m", "penstock", "watcher", "--child", f"--log-level={log_level}"]
        self._stopping = threading.Event()
        self._process = self._start()
        self._thread = threading.Thread(target=self._supervise, name="penstock-watcher", daemon=True)
        self._thread.start()

    def stop(self) -> None:
        self._stopping.set()
        self._process.terminate()
        with suppress(subprocess.TimeoutExpired):
            self._process.wait(_END_SECONDS)
        self._process.kill()
        self._thread.join(_PAUSE_SECONDS * 2)

    def _start(self) -> subprocess.Popen[bytes]:
        # A session of its own: Ctrl-C is for the worker, which ends it when its steps are done.
        return subprocess.Popen(self._command, stdin=subprocess.PIPE, start_new_session=True)

    def _supervise(self) -> None:
        while True:
            code = self._process.wait()
            if self._stopping.wait(_PAUSE_SECONDS):
                return
            logger.warning("the watcher ended with exit code %d, and is started again", code)
            self._process = self._start()

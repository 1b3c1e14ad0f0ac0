"""Removing what ended attempts need no more, beside the engine's work: on a busy disk that takes as long as a
small task.
"""

from __future__ import annotations

import os
import threading
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

from penstock.execution.manifest import Outcome
from penstock.execution.process.attempt_folder import AttemptFolder

BACKLOG = 64
"""How many removals may wait. Beyond that the disk is slower than the tasks; whoever brings one does it."""


class Sweeper:
    """One thread, from the first removal to `close`. What a killed engine left undone is for `sweep_run`."""

    def __init__(self, backlog: int = BACKLOG) -> None:
        self._threads = ThreadPoolExecutor(1, thread_name_prefix="sweeper")
        self._room = threading.Semaphore(backlog)

    def sweep(self, folder: AttemptFolder) -> None:
        """Remove the directories that were there for the task of an ended attempt."""
        self._do(folder.clear_rooms)

    def sweep_run(self, attempts: Path) -> None:
        """The same for all attempts below `attempts` that succeeded."""
        self._do(lambda: _sweep_run(attempts))

    def close(self) -> None:
        """Wait until all is removed. Idempotent."""
        self._threads.shutdown()

    def _do(self, removal: Callable[[], None]) -> None:
        def later() -> None:
            try:
                removal()
            finally:
                self._room.release()

        if self._room.acquire(blocking=False):
            try:
                self._threads.submit(later)
            except RuntimeError:  # closed
                later()
        else:
            removal()


def _sweep_run(attempts: Path) -> None:
    try:
        folders = [AttemptFolder(Path(one.path)) for one in os.scandir(attempts)]
    except OSError:
        return
    for folder in folders:
        if folder.has_rooms and (manifest := folder.manifest) and manifest.outcome is Outcome.SUCCEEDED:
            folder.clear_rooms()

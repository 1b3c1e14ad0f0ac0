"""A worker's part in driving runs, in each process of its pool."""

from __future__ import annotations

import os
import threading
from functools import partial

from penstock.execution.settings import Settings
from penstock.execution.workspace import Workspace
from penstock_workers.engine.broker import Broker
from penstock_workers.engine.opening import Opener
from penstock_workers.engine.reminding import hurry
from penstock_workers.engine.stepper import Stepper


class Steppers:
    """One for each process: connections and threads do not survive a fork."""

    def __init__(self, settings: Settings, broker: Broker) -> None:
        self._settings = settings
        self._broker = broker
        self._made: dict[int, tuple[Workspace, Opener, Stepper]] = {}
        self._lock = threading.Lock()

    def advance(self, run_id: str) -> None:
        self._here().advance(run_id)

    def close(self) -> None:
        found = self._made.pop(os.getpid(), None)
        if found is not None:
            workspace, opener, _ = found
            opener.close()
            workspace.close()

    def _here(self) -> Stepper:
        with self._lock:
            found = self._made.get(os.getpid())
            if found is None:
                workspace = Workspace(self._settings)
                opener = Opener(workspace)
                stepper = Stepper(workspace.store, opener.open, partial(hurry, workspace.store, self._broker))
                found = self._made[os.getpid()] = (workspace, opener, stepper)
            return found[2]

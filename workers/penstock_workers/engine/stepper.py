"""A worker's steps: a run is claimed, driven for some seconds, and handed back with the time of the next."""

from __future__ import annotations

import logging
import os
import socket
import threading
import time
from collections import OrderedDict
from collections.abc import Callable
from contextlib import suppress
from dataclasses import dataclass
from typing import Final

from penstock.errors import LeaseError, PenstockError
from penstock.execution.failpoints import failpoint
from penstock.execution.lease import Lease
from penstock.execution.secrets.known import KNOWN
from penstock.store import Store, new_id
from penstock.store.absence import Waiting
from penstock_workers.engine.drive import Drive

LEASE_SECONDS: Final = 30.0
"""After which another worker takes a run whose worker died in a step."""
STEP_SECONDS: Final = 10.0
"""After which a step makes room for other runs."""
HEARTBEAT_SECONDS: Final = 60.0
"""A run is looked at so often although nobody asked for it."""
_BACKOFF_SECONDS: Final = 60.0
_KEPT_DRIVES: Final = 32

logger = logging.getLogger(__name__)
logger.addFilter(KNOWN)


class Stepper:
    """Safe for use by several threads at once. `open_drive` knows a run from the store alone; `hurry` has
    a run looked at by any worker after some seconds, a hint that may be lost.
    """

    def __init__(
        self, store: Store, open_drive: Callable[[str], Drive], hurry: Callable[[str, float], object]
    ) -> None:
        self._store = store
        self._open_drive = open_drive
        self._hurry = hurry
        self._kept: OrderedDict[str, tuple[int, Drive]] = OrderedDict()
        self._lock = threading.Lock()
        self._name = f"worker {os.getpid()} of {socket.gethostname()}"

    def advance(self, run_id: str) -> None:
        """Do what is to be done in the run now. Nothing, when another worker is at it: that one sees to it.

        What goes wrong is recorded on the agenda, and tried again later. Raises StoreError when not even that
        can be done: then the run is due again when its lease ends.
        """
        step = self._claim(run_id)
        if step is None:
            return
        try:
            with self._store.waiting(Waiting(lambda: step.lease.end, logger.debug)):
                self._drive_on(run_id, step)
        except LeaseError as error:
            logger.warning("%s", error)
        except Exception as error:
            if isinstance(error, PenstockError):
                logger.warning("run %s waits: %s", run_id, error)
            else:
                logger.exception("a step of run %s broke penstock", run_id)
            self._fail(run_id, step, KNOWN.mask(str(error)) or type(error).__name__)

    def _claim(self, run_id: str) -> _Step | None:
        """None for a run that another worker has, or that has ended."""
        store = self._store
        with suppress(LeaseError), store.transaction():
            mine = store.agenda.begin(run_id, LEASE_SECONDS)
            if mine is None:
                return None
            lease = Lease(store, run_id, f"{self._name}, step {new_id()[-8:]}", LEASE_SECONDS)
            return _Step(lease, mine, store.runs.revision(run_id))
        return None

    def _drive_on(self, run_id: str, step: _Step) -> None:
        failpoint("step.claimed")
        drive = self._recall(run_id, step.revision) or self._open_drive(run_id)
        drive.control.token = step.lease.token
        until = time.monotonic() + STEP_SECONDS

        def keep() -> bool:
            if step.lease.keep():
                step.mine = self._store.agenda.extend(run_id, step.mine, LEASE_SECONDS)
            return time.monotonic() < until

        while True:
            drive.advance(keep)
            if drive.idle:
                self._finish(run_id, step, drive)
                return
            due = drive.due()
            if self._hand_back(run_id, step, HEARTBEAT_SECONDS if due is None else due):
                break
        failpoint("step.released")
        self._keep(run_id, step.revision, drive)
        if due is not None and due < HEARTBEAT_SECONDS / 2:
            self._hurry(run_id, due)

    def _hand_back(self, run_id: str, step: _Step, seconds: float) -> bool:
        """False when there is more to do: somebody called since the last look."""
        store = self._store
        with store.transaction():
            if store.agenda.settle(run_id, step.mine, seconds):
                step.revision = store.runs.revision(run_id)
                step.lease.release()
                return True
            step.mine = store.agenda.begin(run_id, LEASE_SECONDS) or 0.0
            return False

    def _finish(self, run_id: str, step: _Step, drive: Drive) -> None:
        if not drive.state.ended:
            raise PenstockError(f"run {run_id} came to a standstill; it is looked at anew")
        failpoint("run.ended")
        drive.asking.launcher.end_run(run_id)
        with self._store.transaction():
            self._store.agenda.remove(run_id)
            step.lease.release()
        logger.info("run %s has ended", run_id)

    def _fail(self, run_id: str, step: _Step, error: str) -> None:
        found = self._store.agenda.get(run_id)
        failures = found.failures if found is not None else 0
        with self._store.transaction():
            self._store.agenda.fail(run_id, error, min(_BACKOFF_SECONDS, 2.0**failures))
            step.lease.release()

    def _recall(self, run_id: str, revision: int) -> Drive | None:
        """What this worker knows of the run, if nobody else drove it since."""
        with self._lock:
            known, drive = self._kept.pop(run_id, (-1, None))
        return drive if known == revision else None

    def _keep(self, run_id: str, revision: int, drive: Drive) -> None:
        with self._lock:
            self._kept[run_id] = (revision, drive)
            while len(self._kept) > _KEPT_DRIVES:
                self._kept.popitem(last=False)


@dataclass(slots=True)
class _Step:
    """`mine` is what the agenda has for the end of the step, `revision` the run's before and after it."""

    lease: Lease
    mine: float
    revision: int

"""The watcher: sees what becomes of attempts, reminds workers of runs that are due, and removes orphans.

Of several that are started one is at work, by lease; another takes over when it is silent.
"""

from __future__ import annotations

import logging
import os
import socket
import threading
import time
from collections.abc import Callable
from contextlib import suppress
from functools import partial
from typing import Final

from penstock.errors import NotFoundError, PenstockError
from penstock.execution.options import RunOptions
from penstock.execution.secrets.known import KNOWN
from penstock.execution.workspace import Workspace
from penstock.store import AttemptState, new_id
from penstock_workers.engine.broker import Broker
from penstock_workers.engine.engine import ENGINE
from penstock_workers.engine.opening import launcher_names, remote_launcher
from penstock_workers.engine.reminding import Reminders, hurry
from penstock_workers.remote import RemoteLauncher, Seen

LEASE_SECONDS: Final = 10.0
_CLAIM_SECONDS: Final = 2.0
_SWEEP_SECONDS: Final = 0.5
_LATE_SECONDS: Final = 1.0
"""A run that is due for so long was not reached by its message."""
_REAP_SECONDS: Final = 30.0
_WATCH_SECONDS: Final = 1.0

logger = logging.getLogger(__name__)
logger.addFilter(KNOWN)


class Keeper:
    def __init__(self, workspace: Workspace, broker: Broker) -> None:
        self._workspace = workspace
        self._broker = broker
        self._reminders = Reminders(_LATE_SECONDS)
        self._name = f"watcher {os.getpid()} of {socket.gethostname()} {new_id()[-8:]}"
        self._post = f"watcher of {workspace.settings.installation}"

    def run(self, stopped: threading.Event) -> None:
        """Be the watcher, or stand by, until `stopped`."""
        while not stopped.is_set():
            try:
                if self._claim():
                    self._lead(stopped)
            except PenstockError as error:
                logger.warning("the watcher waits: %s", error)
            stopped.wait(_CLAIM_SECONDS)

    def _claim(self) -> bool:
        return self._workspace.store.leaders.claim(self._post, self._name, LEASE_SECONDS)

    def _lead(self, stopped: threading.Event) -> None:
        logger.info("watching for installation %s", self._workspace.settings.installation)
        over = threading.Event()
        launchers = self._launchers()
        threads = [
            threading.Thread(target=self._repeat, args=(act, over, pause), daemon=True)
            for act, pause in (
                (self._sweep, _SWEEP_SECONDS),
                (self._track, _CLAIM_SECONDS),
                *((partial(one.watch, self._saw, over), _WATCH_SECONDS) for one in launchers),
                *((partial(one.reap, self._lives), _REAP_SECONDS) for one in launchers),
            )
        ]
        for thread in threads:
            thread.start()
        try:
            while not stopped.wait(_CLAIM_SECONDS):
                if not self._claim():
                    logger.warning("another watcher has taken over")
                    return
        finally:
            over.set()
            for thread in threads:
                thread.join(LEASE_SECONDS)
            for one in launchers:
                one.close()
            with suppress(PenstockError):
                self._workspace.store.leaders.resign(self._post, self._name)

    def _launchers(self) -> list[RemoteLauncher]:
        """One that cannot be had is not watched: that is no reason not to watch the others."""
        found: list[RemoteLauncher] = []
        names = launcher_names(self._workspace.settings)
        for name in names:
            try:
                found.append(remote_launcher(self._workspace, RunOptions(launcher=name)))
            except PenstockError as error:
                if len(names) == 1:
                    raise
                logger.warning("launcher '%s' is not watched: %s", name, error)
        return found

    @staticmethod
    def _repeat(act: Callable[[], object], over: threading.Event, pause: float) -> None:
        while not over.is_set():
            try:
                act()
            except PenstockError as error:
                logger.warning("the watcher waits: %s", error)
            except Exception:
                logger.exception("the watcher broke")
            over.wait(pause)

    def _saw(self, seen: Seen) -> None:
        store = self._workspace.store
        if store.launches.sight(seen.attempt_id, seen.why, seen.what if seen.ended else None) and seen.ended:
            hurry(store, self._broker, seen.run_id)

    def _sweep(self) -> None:
        late = self._workspace.store.agenda.late(ENGINE, _LATE_SECONDS)
        for one in self._reminders.wanted(late):
            if not self._broker.hurry(one.run_id, one.queue, one.priority):
                return

    def _lives(self, run_id: str, attempt_id: str) -> bool:
        """Whether the attempt, or without one the run, has not ended."""
        store = self._workspace.store
        try:
            if attempt_id:
                return store.attempts.get(attempt_id).state is AttemptState.RUNNING
            return not store.runs.get(run_id).state.ended
        except NotFoundError:
            return False

    def _track(self) -> None:
        tracker = self._workspace.tracker(logger.warning)
        if tracker is not None:
            end = time.monotonic() + LEASE_SECONDS
            tracker.catch_up(lambda: time.monotonic() > end)

"""The thread that records one run in MLflow while an engine drives it."""

from __future__ import annotations

import logging
import math
import threading
import time
from typing import TYPE_CHECKING, Final

from penstock.errors import PenstockError
from penstock.tracking.claims import Claim, OvertakenError
from penstock.tracking.recorder import Recorder
from penstock.tracking.transport import UnavailableError

if TYPE_CHECKING:
    from penstock.tracking.tracker import MlflowTracker

_POLL_SECONDS: Final = 1.0
_LONGEST_PAUSE: Final = 15.0
_REQUEST_SECONDS: Final = 5.0
_QUICK_SECONDS: Final = 2.0
"""What a launch waits for one answer of MLflow, and for the claim on its run."""

_OTHERS_SECONDS: Final = 2.0
_OTHERS_PAUSE: Final = 15.0
"""How long it may turn to the backlog of other runs before it looks after its own again, and how often."""

logger = logging.getLogger(__name__)


class Follower:
    def __init__(self, tracker: MlflowTracker, run_id: str) -> None:
        self._tracker = tracker
        self._run_id = run_id
        self._lock = threading.Lock()
        self._claim: Claim | None = None
        self._recorder: Recorder | None = None
        self._hopeless = False
        self._others_at = time.monotonic()
        self._stopping = threading.Event()
        self._deadline = math.inf
        self._error = ""
        self._thread = threading.Thread(target=self._follow, name=f"mlflow {run_id}", daemon=True)

    def start(self) -> None:
        self._thread.start()

    def finish(self, seconds: float) -> str:
        """End within that time; a sentence on what could not be delivered, or nothing."""
        self._deadline = time.monotonic() + seconds
        self._stopping.set()
        try:
            self._thread.join(seconds + 1)
        except KeyboardInterrupt:
            self._deadline = 0.0
            self._thread.join(1)
        try:
            return self._left()
        except PenstockError as error:
            return str(error)

    def open_task(self, path: str) -> tuple[str, str] | None:
        """Experiment and run in MLflow of a task about to be launched.

        Raises UnavailableError, and other PenstockErrors where nothing can be done about it now.
        """
        until = time.monotonic() + _QUICK_SECONDS
        while not self._claimed():
            self._hopeless = self._hopeless or time.monotonic() > until
            if self._hopeless:
                return None
            time.sleep(0.05)
        task = self._tracker.claims.store.tasks.find(self._run_id, path)
        if task is None or self._recorder is None:
            return None
        return self._recorder.open_task(self._tracker.server(_QUICK_SECONDS), task)

    def known(self, path: str) -> tuple[str, str] | None:
        return self._recorder.known(path) if self._recorder is not None else None

    def _claimed(self) -> bool:
        with self._lock:
            if self._claim is None:
                self._claim = self._tracker.claims.claim(self._run_id)
                if self._claim is not None:
                    self._hopeless = False
                    self._recorder = Recorder(self._tracker.claims.store, self._run_id)
            return self._claim is not None

    def _follow(self) -> None:
        pause = _POLL_SECONDS
        while True:
            last = self._stopping.is_set()
            try:
                over = self._step()
                pause, self._error = _POLL_SECONDS, ""
            except OvertakenError:
                over, self._claim = False, None
            except UnavailableError as error:
                over, pause = False, min(2 * pause, _LONGEST_PAUSE)
                self._error = self._tracker.down = str(error)
            except PenstockError as error:
                over, self._error = False, str(error)
            except Exception as error:
                logger.exception("recording run %s in MLflow failed", self._run_id)
                over, self._error = False, f"{type(error).__name__}: {error}"
            if over or last:
                break
            self._stopping.wait(pause)
        if not over and self._claim is not None:
            try:
                self._claim.hand_back(self._error)
            except PenstockError as error:
                logger.debug("the claim on run %s is not handed back: %s", self._run_id, error)

    def _step(self) -> bool:
        """Whether the run has ended, and all of it is delivered."""
        if not self._claimed() or self._claim is None or self._recorder is None:
            return False
        self._claim.keep()
        if self._tracker.down:
            self._tracker.server(_QUICK_SECONDS).experiment(self._recorder.experiment_name)
            self._tracker.down = ""
        server = self._tracker.server(_REQUEST_SECONDS)
        server.deadline = self._deadline
        if not self._recorder.deliver(server, self._claim, lambda: time.monotonic() > self._deadline):
            return False
        self._claim.keep()
        if self._claim.finish():
            return True
        if not self._stopping.is_set() and time.monotonic() >= self._others_at:
            self._others_at = time.monotonic() + _OTHERS_PAUSE
            until = time.monotonic() + _OTHERS_SECONDS
            self._tracker.backlog.deliver_others(
                server, lambda: self._stopping.is_set() or time.monotonic() > until
            )
        return False

    def _left(self) -> str:
        backlog = self._tracker.backlog
        for waiting in backlog.runs(self._run_id):
            if waiting.refused:
                return (
                    f"MLflow has refused a part of the run ({waiting.error}); "
                    "`penstock tracking status` shows it"
                )
            count = backlog.count(waiting)
            if count:
                why = self._error or "it is slow"
                return (
                    f"{count} records of the run are not in MLflow yet ({why}); "
                    "`penstock tracking sync` delivers them"
                )
        return ""

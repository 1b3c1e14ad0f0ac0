"""The embedded engine: a whole run in this process, several attempts at a time."""

from __future__ import annotations

import heapq
import logging
import queue
import time
from collections import deque
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from contextlib import suppress
from dataclasses import replace
from typing import TypeAlias

from penstock.errors import LeaseError, PenstockError, StoreError, TaskError
from penstock.execution.control import LocalControl, Step
from penstock.execution.failpoints import failpoint
from penstock.execution.interrupts import as_events
from penstock.execution.launcher import Attempt, Launcher, LauncherError
from penstock.execution.manifest import Outcome, OutputManifest
from penstock.execution.order import LaunchOrder
from penstock.execution.tracker import Tracker
from penstock.model import ROOT, Reason, State, TaskRun
from penstock.planner.settle import CONTAINERS
from penstock.planner.verdict import kind_of
from penstock.store import Store

ChangeWatcher = Callable[[TaskRun], None]
LineWatcher = Callable[[str, str], None]
_Event: TypeAlias = tuple[str, OutputManifest] | PenstockError | None
"""An attempt has ended, by task path, or cannot be followed; None: the user wants the run to end."""

POLL_SECONDS = 1.0
LEASE_SECONDS = 30.0
STOP_GRACE_SECONDS = 10.0

logger = logging.getLogger(__name__)


class EmbeddedEngine:
    """Runs a run to its end.

    `on_change` sees each record once it is written, from the caller's thread; `on_line` each line of user
    output with its task path, from the thread of its attempt.
    """

    def __init__(
        self,
        store: Store,
        control: LocalControl,
        launcher: Launcher,
        owner: str,
        *,
        parallel: int,
        on_change: ChangeWatcher | None = None,
        on_line: LineWatcher | None = None,
        tracker: Tracker | None = None,
    ) -> None:
        self.store = store
        self.control = control
        self.launcher = launcher
        self.owner = owner
        self.parallel = max(1, parallel)
        self.on_change = on_change
        self.on_line = on_line
        self.tracker = tracker

    def run(self, run_id: str) -> State:
        """Run, or resume, to the end; the final state.

        Ctrl-C cancels the run and waits for its attempts to end, a second one kills them. Raises LeaseError,
        naming the owner, when another engine has the run, StoreError when what happens cannot be recorded;
        attempts go on then, and whoever resumes the run takes them over.
        """
        events: queue.SimpleQueue[_Event] = queue.SimpleQueue()
        with as_events(lambda: events.put(None)):
            token = self.control.token = self.store.leases.claim(run_id, self.owner, LEASE_SECONDS)
            failpoint("run.claimed")
            execution = _Execution(self, run_id, token, events)
            try:
                state = execution.to_the_end()
            except LeaseError:
                execution.leave()
                raise
            except (StoreError, LauncherError) as error:
                running = execution.leave()
                if running:
                    raise type(error)(f"{error} ({running} tasks go on meanwhile)") from error
                raise
            except BaseException:
                execution.stop()
                with suppress(PenstockError):
                    self.store.leases.release(run_id, token)
                raise
            failpoint("run.ended")
            self.store.leases.release(run_id, token)
            return state


class _Execution:
    """The loop over one run: open DAGs at once, launch leaves as slots are free, publish what ends."""

    def __init__(
        self, engine: EmbeddedEngine, run_id: str, token: int, events: queue.SimpleQueue[_Event]
    ) -> None:
        self._engine = engine
        self._run_id = run_id
        self._token = token
        self._ready: deque[str] = deque()
        self._queued: set[str] = set()
        self._later: list[tuple[float, str]] = []
        self._running: dict[str, Attempt | None] = {}
        self._events = events
        self._threads = ThreadPoolExecutor(engine.parallel, thread_name_prefix="attempt")
        self._canceling = self._left = False
        self._grace = STOP_GRACE_SECONDS
        self._renewed = time.monotonic()
        self._polled = self._renewed - POLL_SECONDS

    def to_the_end(self) -> State:
        self._take(self._engine.control.begin(self._run_id))
        failpoint("run.begun")
        while True:
            self._poll()
            self._fill_slots()
            if not (self._running or self._ready or self._later):
                break
            self._wait()
        self._threads.shutdown()
        state = self._engine.store.runs.get(self._run_id).state
        if not state.ended:
            # Somebody else drives it by now, or the planner has lost the thread.
            self._engine.store.leases.renew(self._run_id, self._token, LEASE_SECONDS)
            raise PenstockError(
                f"run {self._run_id} came to a standstill; `penstock runs resume` looks at it anew"
            )
        return state

    def leave(self) -> int:
        """Give the run up without its attempts; how many go on."""
        self._left = True
        self._threads.shutdown(cancel_futures=True)
        return sum(1 for attempt in self._running.values() if attempt is not None and _runs(attempt))

    def stop(self) -> None:
        """Give the run up, with nothing left running."""
        self._canceling = True
        self._stop_all(self._grace)
        self._threads.shutdown(cancel_futures=True)

    def _take(self, step: Step) -> None:
        """Report what was recorded, and judge what follows: containers now, leaves when a slot is free."""
        todo = [step]
        while todo:
            step = todo.pop()
            if self._engine.on_change is not None:
                for change in step.changes:
                    self._engine.on_change(change)
            for due, path in ((due, path) for path, due in step.again):
                heapq.heappush(self._later, (due, path))
            for path in step.following:
                if self._is_container(path):
                    todo.append(self._engine.control.prepare(self._run_id, path))
                elif path not in self._queued:
                    self._queued.add(path)
                    self._ready.append(path)

    def _is_container(self, path: str) -> bool:
        return kind_of(self._engine.control.session(self._run_id).ledger, path) in CONTAINERS

    def _fill_slots(self) -> None:
        now = time.time()
        while self._later and (self._later[0][0] <= now or self._canceling):
            _, path = heapq.heappop(self._later)
            self._take(Step(following=(path,)))
        while self._ready and len(self._running) < self._engine.parallel:
            path = self._ready.popleft()
            self._queued.discard(path)
            if path in self._running:
                continue
            step = self._engine.control.prepare(self._run_id, path)
            self._take(step)
            if step.order is not None:
                self._running[path] = None
                self._threads.submit(self._attempt, step.order)

    def _attempt(self, order: LaunchOrder) -> None:
        """In a thread of its own: start or adopt the attempt, and wait for its end."""
        try:
            if self._engine.tracker is not None:
                order = replace(order, environment=self._engine.tracker.environment(order))
            attempt = self._engine.launcher.start(order, self._lines(order.path))
            self._running[order.path] = attempt
            if self._canceling:
                attempt.stop(self._grace)
            while (manifest := attempt.wait(POLL_SECONDS)) is None:
                if self._left:
                    return
        except TaskError as error:
            manifest = OutputManifest(
                order.attempt_id, Outcome.FAILED, reason=Reason.REFUSED, error=str(error)
            )
        except LauncherError as error:
            self._events.put(LauncherError(f"task '{order.path}' cannot be followed: {error}"))
            return
        except (PenstockError, OSError) as error:
            # Of our own files, not of the task; what it did is not lost.
            text = f"attempt {order.attempt_id} of task '{order.path}' cannot be kept: {error}"
            self._events.put(StoreError(f"{text}; see to the disk, and resume the run"))
            return
        except Exception as error:
            logger.exception("attempt %s of task %s broke penstock", order.attempt_id, order.path)
            text = f"penstock failed while it ran this task: {type(error).__name__}: {error}"
            manifest = OutputManifest(order.attempt_id, Outcome.FAILED, reason=Reason.REFUSED, error=text)
        failpoint("engine.attempt_ended")
        self._events.put((order.path, manifest))

    def _lines(self, path: str) -> Callable[[str], None] | None:
        """Whoever watches cannot harm the task: after a first line that he does not take he gets no more."""
        watcher = self._engine.on_line
        if watcher is None:
            return None
        gone = False

        def line(text: str) -> None:
            nonlocal gone
            if gone:
                return
            try:
                watcher(path, text)
            except Exception:
                gone = True
                logger.debug("nobody reads the output of task %s any more", path, exc_info=True)

        return line

    def _wait(self) -> None:
        """Until an attempt ends, a retry is due, or it is time to look at the store."""
        seconds = POLL_SECONDS
        if self._later:
            seconds = min(seconds, max(0.0, self._later[0][0] - time.time()))
        if not self._running and not self._later:
            return
        try:
            event = self._events.get(timeout=seconds)
            while True:
                self._handle(event)
                event = self._events.get_nowait()
        except queue.Empty:
            return

    def _handle(self, event: _Event) -> None:
        if event is None:
            self._cancel(grace=0.0 if self._canceling else STOP_GRACE_SECONDS)
            return
        if isinstance(event, PenstockError):
            raise event
        path, manifest = event
        step = self._engine.control.publish(self._run_id, path, manifest)
        attempt = self._running.pop(path, None)
        if attempt is not None:
            attempt.release()
        self._take(step)

    def _poll(self) -> None:
        now = time.monotonic()
        if now - self._polled < POLL_SECONDS:
            return
        self._polled = now
        store = self._engine.store
        if now - self._renewed > LEASE_SECONDS / 3:
            store.leases.renew(self._run_id, self._token, LEASE_SECONDS)
            self._renewed = now
        if self._canceling:
            return
        if store.runs.cancel_requested(self._run_id):
            self._cancel(STOP_GRACE_SECONDS)
        else:
            self._check_deadline()

    def _cancel(self, grace: float) -> None:
        """Stop what runs, start nothing new; what never started is recorded as CANCELED."""
        self._canceling = True
        self._grace = grace
        self._engine.control.cancel(self._run_id)
        failpoint("cancel.recorded")
        self._stop_all(grace)

    def _stop_all(self, grace: float) -> None:
        for attempt in list(self._running.values()):
            if attempt is not None:
                attempt.stop(grace)

    def _check_deadline(self) -> None:
        """KFP: `pipelineConfig.activeDeadlineSeconds`, counted from the start of the run."""
        session = self._engine.control.session(self._run_id)
        limit = session.pipeline.kubernetes_config.get("activeDeadlineSeconds")
        root = session.ledger.get(ROOT)
        if not isinstance(limit, int | float) or root is None or root.started_at is None:
            return
        if time.time() - root.started_at > limit:
            session.ledger.overdue = f"the run exceeded its deadline of {limit:g} seconds"
            session.ledger.canceled = self._canceling = True
            self._stop_all(STOP_GRACE_SECONDS)


def _runs(attempt: Attempt) -> bool:
    try:
        return attempt.wait(0.0) is None
    except (PenstockError, OSError):
        return False

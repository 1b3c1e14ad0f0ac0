"""The embedded engine: a whole run in this process, several attempts at a time."""

from __future__ import annotations

import heapq
import logging
import queue
import time
from collections import deque
from collections.abc import Callable, Mapping
from concurrent.futures import ThreadPoolExecutor
from contextlib import suppress
from dataclasses import replace
from typing import TypeAlias

from penstock.errors import LeaseError, PenstockError, StoreAwayError, StoreError, TaskError
from penstock.execution.control import Step
from penstock.execution.failpoints import failpoint
from penstock.execution.interrupts import as_events
from penstock.execution.launcher import Attempt, Launcher, LauncherError
from penstock.execution.lease import Lease
from penstock.execution.local_control import LocalControl
from penstock.execution.manifest import Outcome, OutputManifest
from penstock.execution.order import LaunchOrder
from penstock.execution.owner import share_home
from penstock.execution.secrets.known import KNOWN
from penstock.execution.tracker import Tracker
from penstock.model import Reason, State, TaskRun
from penstock.store import Store
from penstock.store.absence import Waiting

ChangeWatcher = Callable[[TaskRun], None]
LineWatcher = Callable[[str, str], None]
_Event: TypeAlias = tuple[str, OutputManifest] | PenstockError | None
"""An attempt has ended, by task path, or cannot be followed; None: the user wants the run to end."""

POLL_SECONDS = 1.0
STOP_GRACE_SECONDS = 10.0

logger = logging.getLogger(__name__)
logger.addFilter(KNOWN)


class EmbeddedEngine:
    """Runs a run to its end.

    `on_change` sees each record once it is written, from the caller's thread; `on_line` each line of user
    output with its task path, from the thread of its attempt; `on_notice` a sentence when the database goes
    away and when it is back.
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
        on_notice: Callable[[str], None] = logger.warning,
        tracker: Tracker | None = None,
    ) -> None:
        self.store = store
        self.control = control
        self.launcher = launcher
        self.owner = owner
        self.parallel = max(1, parallel)
        self.on_change = on_change
        self.on_line = on_line
        self.on_notice = on_notice
        self.tracker = tracker

    def run(self, run_id: str) -> State:
        """Run, or resume, to the end; the final state.

        Ctrl-C cancels the run and waits for its attempts to end, a second one kills them. Raises LeaseError,
        naming the owner, when another engine has the run, StoreError when what happens cannot be recorded;
        attempts go on then, and whoever resumes the run takes them over. Attempts that nobody from here could
        take over are stopped: when an engine of another home has the run, or a database has been away for so
        long that one may have it soon.
        """
        events: queue.SimpleQueue[_Event] = queue.SimpleQueue()
        with as_events(lambda: events.put(None)):
            lease = Lease(self.store, run_id, self.owner)
            self.control.token = lease.token
            failpoint("run.claimed")
            execution = _Execution(self, run_id, lease, events)
            waiting = Waiting(lambda: lease.end, self.on_notice, execution.pause)
            try:
                with self.store.waiting(waiting):
                    state = execution.to_the_end()
                    failpoint("run.ended")
                    self.launcher.end_run(run_id)
                    lease.release()
            except LeaseError:
                if self._is_near(run_id):
                    execution.leave()
                else:
                    execution.stop(grace=0.0)
                raise
            except StoreAwayError as error:
                execution.stop()
                raise StoreError(
                    f"{error.problem}; its tasks were stopped, as another engine may take the run by now: "
                    f"`penstock runs resume {run_id}` goes on with it once the database is back"
                ) from error
            except (StoreError, LauncherError) as error:
                running = execution.leave()
                if running:
                    raise type(error)(f"{error} ({running} tasks go on meanwhile)") from error
                raise
            except BaseException:
                execution.stop()
                with suppress(PenstockError), self.store.waiting(Waiting(lambda: 0.0)):
                    lease.release()
                raise
            return state

    def _is_near(self, run_id: str) -> bool:
        """Whether the engine that has the run now sees the attempts of this one."""
        try:
            holder = self.store.leases.holder(run_id)
        except StoreError:
            return False
        return holder is not None and share_home(holder[0], self.owner)


class _Execution:
    """The loop over one run: open DAGs at once, launch leaves as slots are free, publish what ends."""

    def __init__(
        self, engine: EmbeddedEngine, run_id: str, lease: Lease, events: queue.SimpleQueue[_Event]
    ) -> None:
        self._engine = engine
        self._run_id = run_id
        self._lease = lease
        self._ready: deque[str] = deque()
        self._queued: set[str] = set()
        self._later: list[tuple[float, str]] = []
        self._running: dict[str, Attempt | None] = {}
        self._unwanted: set[str] = set()
        self._events = events
        self._held: deque[_Event] = deque()
        self._threads = ThreadPoolExecutor(engine.parallel, thread_name_prefix="attempt")
        self._canceling = self._left = False
        self._grace = STOP_GRACE_SECONDS
        self._polled = time.monotonic() - POLL_SECONDS

    def to_the_end(self) -> State:
        control = self._engine.control
        state = self._drive(control.begin(self._run_id))
        if not state.ended:
            # A hint may have gone with a connection; the record knows them all.
            control.forget(self._run_id)
            state = self._drive(control.begin(self._run_id))
        self._threads.shutdown()
        if not state.ended:
            # Somebody else drives it by now, or the planner has lost the thread.
            self._lease.renew()
            raise PenstockError(
                f"run {self._run_id} came to a standstill; `penstock runs resume` looks at it anew"
            )
        return state

    def pause(self, seconds: float) -> None:
        """Let time pass while the database is away. The tasks of a run that the user wants to end are stopped
        meanwhile; who insists need not wait for the database.
        """
        try:
            event = self._events.get(timeout=seconds)
        except queue.Empty:
            return
        self._held.append(event)
        if event is None:
            if self._canceling:
                raise KeyboardInterrupt
            self._canceling = True
            self._stop_all(self._grace)

    def _drive(self, step: Step) -> State:
        """Until nothing runs and nothing is left to do; the run's state then."""
        self._take(step)
        failpoint("run.begun")
        while True:
            self._poll()
            self._fill_slots()
            if not (self._running or self._ready or self._later):
                break
            self._wait()
        store = self._engine.store
        return store.repeat(lambda: store.runs.get(self._run_id).state)

    def leave(self) -> int:
        """Give the run up without its attempts; how many go on."""
        self._left = True
        self._threads.shutdown(cancel_futures=True)
        return sum(1 for attempt in self._running.values() if attempt is not None and _runs(attempt))

    def stop(self, grace: float | None = None) -> None:
        """Give the run up, with nothing left running."""
        self._canceling = True
        self._grace = self._grace if grace is None else grace
        self._stop_all(self._grace)
        self._threads.shutdown(cancel_futures=True)

    def _take(self, step: Step) -> None:
        """Report what was recorded; what follows is judged when a slot is free."""
        if self._engine.on_change is not None:
            for change in step.changes:
                self._engine.on_change(change)
        if any(change.state is State.FAILED for change in step.changes):
            self._stop_preparing()
        for path, due in step.again:
            heapq.heappush(self._later, (due, path))
        for path in step.following:
            if path not in self._queued:
                self._queued.add(path)
                self._ready.append(path)

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
            order = replace(order, environment=self._environment(order))
            attempt = self._engine.launcher.start(
                order, self._lines(order.path), lambda: self._is_unwanted(order.path)
            )
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
            text = KNOWN.mask(f"penstock failed while it ran this task: {type(error).__name__}: {error}")
            manifest = OutputManifest(order.attempt_id, Outcome.FAILED, reason=Reason.REFUSED, error=text)
        failpoint("engine.attempt_ended")
        self._events.put((order.path, manifest))

    def _stop_preparing(self) -> None:
        """Fail-fast: what has no process yet does not get one."""
        ledger = self._engine.control.session(self._run_id).ledger
        preparing = [path for path, attempt in self._running.items() if attempt is None]
        self._unwanted.update(path for path in preparing if ledger.stopping(path))

    def _is_unwanted(self, path: str) -> bool:
        """Whether an attempt that has no process yet had better not get one."""
        return self._canceling or self._left or path in self._unwanted

    def _environment(self, order: LaunchOrder) -> Mapping[str, str]:
        """What the tracker adds to a task's environment; it may look into the database for that."""
        tracker, store = self._engine.tracker, self._engine.store
        if tracker is None:
            return order.environment
        with store.waiting(Waiting(lambda: self._lease.end, logger.debug)):
            return store.repeat(lambda: tracker.environment(order))

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
            while True:
                self._handle(self._held.popleft() if self._held else self._events.get(timeout=seconds))
                seconds = 0.0
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
        self._unwanted.discard(path)
        self._take(step)

    def _poll(self) -> None:
        now = time.monotonic()
        if now - self._polled < POLL_SECONDS:
            return
        self._polled = now
        store = self._engine.store
        self._lease.keep()
        if self._canceling:
            return
        if store.repeat(lambda: store.runs.cancel_requested(self._run_id)):
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
        overdue = self._engine.control.session(self._run_id).overdue(time.time())
        if overdue:
            self._engine.control.give_up(self._run_id, overdue)
            self._canceling = True
            self._stop_all(STOP_GRACE_SECONDS)


def _runs(attempt: Attempt) -> bool:
    try:
        return attempt.wait(0.0) is None
    except (PenstockError, OSError):
        return False

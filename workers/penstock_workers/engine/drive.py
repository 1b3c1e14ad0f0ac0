"""What a worker knows of a run that it drives: what is ready, what runs, what has to be asked again.

All of it can be read from the store, as a worker does that has not driven the run before. It is kept between
steps because most runs stay with a worker that knows them.
"""

from __future__ import annotations

import heapq
import math
import time
from collections import deque
from collections.abc import Callable, Mapping, Sequence
from concurrent.futures import Executor, wait
from dataclasses import dataclass, field
from typing import Final

from penstock.execution.control import Step
from penstock.execution.failpoints import failpoint
from penstock.execution.local_control import LocalControl
from penstock.execution.manifest import OutputManifest
from penstock.execution.order import LaunchOrder
from penstock.model import JsonObject, State
from penstock.planner.settle import CONTAINERS
from penstock.planner.verdict import kind_of
from penstock.store import Store
from penstock_workers.engine.asking import Answer, Asking, given_up
from penstock_workers.remote import Waits

BATCH: Final = 16
"""Tasks that are prepared, launched or published with one commit."""
_NO_ROOM_SECONDS: Final = 1.0
_KEEP_SECONDS: Final = 2.0
"""While answers are waited for, `keep` is asked so often."""


@dataclass(frozen=True, slots=True)
class Limits:
    """Attempts at once: of this run, and of all runs (0: as many as there are). An attempt is given up after
    `patience` seconds in which what has to be asked about it did not answer.
    """

    run: int
    total: int = 0
    patience: float = math.inf


@dataclass(slots=True)
class _Open:
    """An attempt that is not published. `started`: it goes on without us. `ending`: it was asked to end.
    Before `again` (seconds since the epoch) nothing is asked about it; since `silent` nobody answers.
    """

    order: LaunchOrder
    started: bool = False
    ending: bool = False
    again: float = 0.0
    silent: float = 0.0


@dataclass(slots=True)
class Drive:
    """One run, for whoever holds its lease. Not safe for use by several threads at once.

    After an exception it knows less than the store: it is of no use any more.
    """

    store: Store
    control: LocalControl
    run_id: str
    limits: Limits
    asking: Asking
    threads: Executor
    _keep: Callable[[], bool] = field(default=lambda: True, init=False)
    _begun: bool = field(default=False, init=False)
    _canceling: bool = field(default=False, init=False)
    _ready: deque[str] = field(default_factory=deque[str], init=False)
    _later: list[tuple[float, str]] = field(default_factory=list[tuple[float, str]], init=False)
    _open: dict[str, _Open] = field(default_factory=dict[str, _Open], init=False)

    def advance(self, keep: Callable[[], bool]) -> None:
        """Do all that can be done now, or as much as `keep` has patience for: it is asked between batches."""
        self._keep = keep
        if not self._begun:
            self._begin()
        self._look_after_the_end()
        while keep():
            progress = self._publish_ended()
            progress |= self._launch()
            progress |= self._end()
            if not progress:
                return

    @property
    def state(self) -> State:
        return self.store.runs.get(self.run_id).state

    @property
    def idle(self) -> bool:
        """Nothing runs, and nothing is left to do."""
        return not (self._open or self._ready or self._later)

    def due(self) -> float | None:
        """Seconds until there is something to do that nobody will tell of, if there is such a thing."""
        now = time.time()
        times = [self._later[0][0]] if self._later else []
        times += [one.again for one in self._open.values() if one.again]
        if not self._canceling and (deadline := self.control.session(self.run_id).deadline) is not None:
            times.append(deadline)
        if self._ready and not self._room():
            times += [now + _NO_ROOM_SECONDS] if self.limits.total else []
        elif self._ready:
            times.append(now)
        return max(0.0, min(times) - now) if times else None

    def _begin(self) -> None:
        self._take(self.control.begin(self.run_id))
        ledger = self.control.session(self.run_id).ledger
        running = [
            one.path
            for one in ledger.records()
            if one.state is State.RUNNING and kind_of(ledger, one.path) not in CONTAINERS
        ]
        for start in range(0, len(running), BATCH):
            self._prepare(running[start : start + BATCH])
        self._begun = True

    def _take(self, *steps: Step) -> None:
        """What follows is judged when there is room for it."""
        for step in steps:
            for path, due in step.again:
                heapq.heappush(self._later, (due, path))
            for path in step.following:
                if path not in self._open and path not in self._ready:
                    self._ready.append(path)

    def _prepare(self, paths: Sequence[str]) -> None:
        """Judge leaves, and know their attempts."""
        with self.store.transaction():
            steps = [self.control.prepare(self.run_id, path) for path in paths]
            adopted = any(step.adopted for step in steps)
            launches = self.store.launches.open(self.run_id) if adopted else []
        failpoint("drive.prepared")
        started = {one.path for one in launches if one.started}
        for step in steps:
            if step.order is not None:
                self._open[step.order.path] = _Open(step.order, step.order.path in started)
        self._take(*steps)

    def _look_after_the_end(self) -> None:
        """Of the run, where somebody asked for it or it took too long."""
        if self._canceling:
            return
        if self.store.runs.cancel_requested(self.run_id):
            self.control.cancel(self.run_id)
            failpoint("cancel.recorded")
            self._canceling = True
            return
        overdue = self.control.session(self.run_id).overdue(time.time())
        if overdue:
            self.control.give_up(self.run_id, overdue)
            self._canceling = True

    def _publish_ended(self) -> bool:
        """Those that were seen to have ended."""
        ended: dict[str, JsonObject] = {}
        for one in self.store.launches.open(self.run_id):
            known = self._open.get(one.path)
            if known is None or known.order.attempt_id != one.attempt_id:
                continue
            known.started |= one.started
            if one.saw is not None and known.again <= time.time():
                ended[one.path] = one.saw
        return self._ask(
            {path: self.asking.collect(self._open[path].order, saw) for path, saw in ended.items()}
        )

    def _launch(self) -> bool:
        now = time.time()
        while self._later and (self._later[0][0] <= now or self._canceling):
            self._take(Step(following=(heapq.heappop(self._later)[1],)))
        room = self._room()
        batch = [self._ready.popleft() for _ in range(min(room, BATCH, len(self._ready)))]
        if batch:
            self._prepare(batch)
        ledger = self.control.session(self.run_id).ledger
        startable = [
            path
            for path, one in self._open.items()
            if not one.started and one.again <= now and not ledger.stopping(path)
        ]
        some = startable[: self._room_of_all()]
        for path in startable[len(some) :]:
            self._open[path].again = now + _NO_ROOM_SECONDS
        if some:
            # Who was held up since the last look may have been overtaken, and what is ready for us be over.
            self._keep()
        return self._ask({path: self.asking.launch(self._open[path].order) for path in some}) or bool(batch)

    def _room(self) -> int:
        """For attempts that are not claimed yet."""
        return max(0, min(self.limits.run - len(self._open), self._room_of_all()))

    def _room_of_all(self) -> int:
        if not self.limits.total:
            return BATCH
        return max(0, min(BATCH, self.limits.total - self.store.launches.count()))

    def _end(self) -> bool:
        """Stop what runs, if the run is to end; what was never started ends here."""
        ledger = self.control.session(self.run_id).ledger
        now = time.time()
        unwanted = [
            path
            for path, one in self._open.items()
            if not one.ending
            and one.again <= now
            and (self._canceling or (not one.started and ledger.stopping(path)))
        ]
        for path in unwanted:
            self._open[path].ending = True
        return self._ask({path: self.asking.end(self._open[path].order) for path in unwanted})

    def _ask(self, asked: Mapping[str, Callable[[], Answer]]) -> bool:
        """Ask all of it at once; publish the manifests that come, and record what else was answered. Whether
        there was any news.
        """
        if not asked:
            return False
        asking = {path: self.threads.submit(ask) for path, ask in asked.items()}
        while wait(asking.values(), _KEEP_SECONDS).not_done:
            self._keep()
        answers = {path: one.result() for path, one in asking.items()}
        failpoint("drive.asked")
        started = [
            path for path, answer in answers.items() if answer is None and not self._open[path].started
        ]
        self.store.launches.started(self.run_id, [self._open[path].order.attempt_id for path in started])
        manifests: dict[str, OutputManifest] = {}
        for path, answer in answers.items():
            one = self._open[path]
            one.again = 0.0
            outcome = self._put_off(one, answer) if isinstance(answer, Waits) else answer
            if isinstance(outcome, OutputManifest):
                manifests[path] = outcome
            elif outcome is None:
                one.started, one.silent = True, 0.0
        self._publish(manifests)
        return bool(started or manifests)

    def _put_off(self, one: _Open, waits: Waits) -> OutputManifest | Waits:
        """The end of an attempt about which nobody has answered for too long."""
        now = time.time()
        one.silent = (one.silent or now) if waits.silence else 0.0
        if one.silent and now - one.silent >= self.limits.patience:
            return given_up(one.order, waits, self.limits.patience)
        self.store.launches.waits(self.run_id, one.order.attempt_id, waits.why)
        one.again = now + waits.seconds
        one.ending = False
        return waits

    def _publish(self, manifests: Mapping[str, OutputManifest]) -> None:
        paths = list(manifests)
        for start in range(0, len(paths), BATCH):
            batch = paths[start : start + BATCH]
            with self.store.transaction():
                steps = [self.control.publish(self.run_id, path, manifests[path]) for path in batch]
                self.store.launches.forget(manifests[path].attempt_id for path in batch)
            failpoint("drive.published")
            for path in batch:
                self.asking.forget(self._open.pop(path).order, manifests[path])
            self._take(*steps)

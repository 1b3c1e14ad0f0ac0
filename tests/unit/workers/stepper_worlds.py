"""One run on workers that die and sleep, with messages that are lost and doubled, in a random order."""

from __future__ import annotations

import random
import threading
from collections.abc import Generator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass, field
from unittest.mock import patch

from penstock.execution.launcher import LauncherError
from penstock.execution.manifest import Outcome, OutputManifest
from penstock.execution.order import LaunchOrder
from penstock.model import Json, JsonObject, TaskRun
from penstock.store import Store
from penstock_workers.engine.stepper import Stepper
from penstock_workers.remote import Waits
from tests.unit.execution.control_worlds import CrashError
from tests.unit.planner.worlds import attempt_succeeds, leaf_output
from tests.unit.workers.worlds import Cluster, Deed, succeed, worker

STEPS = 5_000
PLACES = (
    "penstock.execution.local_control",
    "penstock_workers.engine.drive",
    "penstock_workers.engine.stepper",
)
APART = ("drive.prepared", "drive.asked", "drive.published", "step.claimed", "step.released", "run.ended")
"""Failpoints of a worker that are outside of transactions: there it can sleep while others write."""


@dataclass(frozen=True)
class Chaos:
    """Chances: at a failpoint (`crash`, `sleep`), of a message (`lose`, `double`), of an attempt that ends
    (`delete`), of a launch that is not told of or put off (`refuse`).
    """

    crash: float = 0.0
    sleep: float = 0.0
    lose: float = 0.0
    double: float = 0.0
    delete: float = 0.0
    refuse: float = 0.0


@dataclass
class _Cluster(Cluster):
    """All tasks do the same."""

    deed: Deed = succeed

    def collect(self, order: LaunchOrder, what: Mapping[str, Json]) -> OutputManifest:
        return super().collect(order, what) if what.get("deleted") else self.deed(order)


@dataclass
class Scene:
    """`ends` is how each attempt ended that nobody deleted, `launches` counts these by path."""

    store: Store
    run_id: str
    world: int
    rng: random.Random
    chaos: Chaos
    count: int
    cancel: float = 0.0
    cluster: _Cluster = field(default_factory=_Cluster)
    messages: int = 0
    ends: dict[str, OutputManifest] = field(default_factory=dict[str, OutputManifest])
    launches: dict[str, int] = field(default_factory=dict[str, int])
    _workers: list[Stepper] = field(default_factory=list[Stepper])
    _asleep: int = 0
    _tries: dict[str, int] = field(default_factory=dict[str, int])
    _told: set[str] = field(default_factory=set[str])
    _lock: threading.Lock = field(default_factory=threading.Lock)

    def to_the_end(self) -> dict[str, TaskRun]:
        """Nobody waits for a heartbeat on the way: whatever is to be done, somebody has been told of."""
        self.cluster.deed = self._deed
        self.cluster.refusing = self._refuse
        with self._world():
            self._workers = [self._worker() for _ in range(self.count)]
            self._send()
            for _ in range(STEPS):
                if self.store.agenda.get(self.run_id) is None:
                    return {record.path: record for record in self.store.tasks.load(self.run_id)}
                self._step()
        raise AssertionError(f"the run does not end: {self.store.tasks.load(self.run_id)}")

    @contextmanager
    def _world(self) -> Generator[None]:
        with (
            patch("penstock_workers.engine.stepper.LEASE_SECONDS", 0.0),
            patch("penstock_workers.engine.asking._UNREACHED_SECONDS", (0.0, 0.0)),
            patch(f"{PLACES[0]}.failpoint", self._failpoint),
            patch(f"{PLACES[1]}.failpoint", self._failpoint),
            patch(f"{PLACES[2]}.failpoint", self._failpoint),
        ):
            yield

    def _worker(self) -> Stepper:
        return worker(self.store, self.cluster, hurry=lambda run_id, seconds: self._send())

    def _send(self) -> None:
        if self.rng.random() >= self.chaos.lose:
            self.messages += 2 if self.rng.random() < self.chaos.double else 1

    def _step(self) -> None:
        if self.cancel and self.rng.random() < self.cancel:
            self.cancel = 0.0
            self.store.runs.request_cancel(self.run_id)
            self.store.agenda.wake(self.run_id)
        match self.rng.randrange(4):
            case 0 if self.messages:
                self.messages -= 1
                self._advance(self.rng.randrange(len(self._workers)))
            case 1:
                self.messages += len(self.store.agenda.late("celery", 0.0))
            case 2 if self.cluster.running:
                self._end()
            case _:
                self._tell()

    def _advance(self, number: int) -> None:
        try:
            self._workers[number].advance(self.run_id)
        except CrashError:
            self._workers[number] = self._worker()

    def _failpoint(self, name: str) -> None:
        if self.rng.random() < self.chaos.crash:
            raise CrashError(name)
        if name in APART and not self._asleep and self.rng.random() < self.chaos.sleep:
            self._sleep()

    def _sleep(self) -> None:
        """The worker is held up for so long that its lease ends; others go on meanwhile."""
        self._asleep += 1
        try:
            other = self._worker()
            for _ in range(self.rng.randrange(1, 6)):
                try:
                    other.advance(self.run_id)
                except CrashError:
                    other = self._worker()
                if self.cluster.running:
                    self._end()
                self._tell()
        finally:
            self._asleep -= 1

    def _end(self) -> None:
        running = self.cluster.running.values()
        order = self.rng.choice(sorted(running, key=lambda one: (one.path, one.number)))
        if self.rng.random() < self.chaos.delete:
            self.cluster.end(order, 0.0)
        else:
            self.cluster.finish(order.attempt_id)

    def _tell(self) -> None:
        """A watcher tells of some ends, late, and of some of them again; but of none for ever."""
        for seen in list(self.cluster.ended.values()):
            told = seen.attempt_id in self._told
            if self.rng.random() < (self.chaos.double / 4 if told else 0.5):
                self._told.add(seen.attempt_id)
                if self.store.launches.sight(seen.attempt_id, seen.why, seen.what):
                    self._send()

    def _deed(self, order: LaunchOrder) -> OutputManifest:
        with self._lock:
            found = self.ends.get(order.attempt_id)
            if found is None:
                launch = self.launches.get(order.path, 0)
                self.launches[order.path] = launch + 1
                found = self.ends[order.attempt_id] = self._manifest(order, launch)
            return found

    def _manifest(self, order: LaunchOrder, launch: int) -> OutputManifest:
        if attempt_succeeds(self.world, order.path, launch):
            outputs: JsonObject = {"out": leaf_output(order.inputs.parameters)}
            return OutputManifest(order.attempt_id, Outcome.SUCCEEDED, exit_code=0, parameters=outputs)
        return OutputManifest(order.attempt_id, Outcome.FAILED, exit_code=1, error="boom")

    def _refuse(self, order: LaunchOrder) -> Waits | Exception | None:
        """Called by several threads: the chance hangs on the attempt alone."""
        with self._lock:
            key = f"{order.path}/{order.number}"
            self._tries[key] = nth = self._tries.get(key, 0) + 1
        chance = random.Random(f"{self.world}/{key}/{nth}").random()
        if chance < self.chaos.refuse / 2:
            return Waits("no room", 0.0)
        return LauncherError("no answer") if chance < self.chaos.refuse else None

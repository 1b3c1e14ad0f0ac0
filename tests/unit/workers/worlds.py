"""A remote launcher that starts nothing: what each task does is a function of its order, and its end is seen
when the test says so.
"""

from __future__ import annotations

import math
import random
import threading
from collections import Counter
from collections.abc import Callable, Mapping
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, field

import yaml

from penstock.execution.local_control import LocalControl
from penstock.execution.manifest import Outcome, OutputManifest
from penstock.execution.options import RunOptions
from penstock.execution.order import LaunchOrder
from penstock.ir import load
from penstock.model import Json, JsonObject, State
from penstock.store import RunRecord, Store, new_id
from penstock_workers.engine.asking import Asking
from penstock_workers.engine.drive import Drive, Limits
from penstock_workers.engine.stepper import Stepper
from penstock_workers.remote import Seen, Waits
from tests.documents import Group, Shell, pipeline
from tests.unit.execution.idle_launcher import IdleLauncher

Deed = Callable[[LaunchOrder], OutputManifest]
THREADS = ThreadPoolExecutor(4)


def succeed(order: LaunchOrder) -> OutputManifest:
    return OutputManifest(order.attempt_id, Outcome.SUCCEEDED, exit_code=0)


def fail(order: LaunchOrder) -> OutputManifest:
    return OutputManifest(order.attempt_id, Outcome.FAILED, exit_code=1, error="boom")


@dataclass
class Cluster(IdleLauncher):
    """Where attempts go on. It outlives every worker; `starts` counts by attempt. `refusing` is asked before
    each launch: the problem, or None.
    """

    deeds: Mapping[str, Deed] = field(default_factory=dict[str, Deed])
    refusing: Callable[[LaunchOrder], Waits | Exception | None] = lambda order: None
    at_once: bool = False
    starts: Counter[str] = field(default_factory=Counter[str])
    running: dict[str, LaunchOrder] = field(default_factory=dict[str, LaunchOrder])
    ended: dict[str, Seen] = field(default_factory=dict[str, Seen])
    forgotten: set[str] = field(default_factory=set[str])
    most: int = 0
    lock: threading.Lock = field(default_factory=threading.Lock)

    name = "cluster"

    def launch(self, order: LaunchOrder) -> OutputManifest | Waits | None:
        problem = self.refusing(order)
        if isinstance(problem, Exception):
            raise problem
        if problem is not None:
            return problem
        if self.at_once:
            return self.deeds.get(order.task_name, succeed)(order)
        with self.lock:
            if order.attempt_id not in self.running and order.attempt_id not in self.ended:
                self.starts[order.attempt_id] += 1
                self.running[order.attempt_id] = order
                self.most = max(self.most, len(self.running))
        return None

    def collect(self, order: LaunchOrder, what: Mapping[str, Json]) -> OutputManifest:
        if what.get("deleted"):
            return OutputManifest(order.attempt_id, Outcome.CANCELED, error="it was deleted")
        return self.deeds.get(order.task_name, succeed)(order)

    def end(self, order: LaunchOrder, grace: float) -> bool:
        with self.lock:
            if order.attempt_id in self.running:
                self._end(order.attempt_id, {"deleted": True})
            return order.attempt_id in self.ended

    def forget(self, order: LaunchOrder, manifest: OutputManifest) -> None:
        with self.lock:
            self.running.pop(order.attempt_id, None)
            self.ended.pop(order.attempt_id, None)
            self.forgotten.add(order.attempt_id)

    def watch(self, on_seen: Callable[[Seen], object], stopped: threading.Event) -> None:
        for seen in list(self.ended.values()):
            on_seen(seen)

    def reap(self, lives: Callable[[str, str], bool]) -> int:
        return 0

    def finish(self, attempt_id: str) -> None:
        """The attempt comes to its end."""
        with self.lock:
            self._end(attempt_id, {"deleted": False})

    def _end(self, attempt_id: str, what: Mapping[str, Json]) -> None:
        order = self.running.pop(attempt_id)
        self.ended[attempt_id] = Seen(order.run.run_id, attempt_id, ended=True, what=what)


def submit(
    store: Store,
    *tasks: Shell | Group,
    options: RunOptions = RunOptions(),
    platform: JsonObject | None = None,
) -> RunRecord:
    document = pipeline("small", *tasks)
    text = yaml.safe_dump_all([document, platform] if platform else [document])
    version = store.pipelines.save(load(text))
    run = store.runs.create(
        new_id(), version_id=version, name="a run", arguments={}, options=options.to_json()
    )
    store.agenda.put(run.id, "celery")
    return run


def worker(
    store: Store,
    cluster: Cluster,
    *,
    parallel: int = 4,
    total: int = 0,
    patience: float = math.inf,
    hurry: Callable[[str, float], object] = lambda run_id, seconds: None,
) -> Stepper:
    """A worker that knows no run yet. Without `hurry` the test is all of the messages."""

    def open_drive(run_id: str) -> Drive:
        control = LocalControl(store, cluster, lambda values: True, "a worker", exclusive=True)
        control.look(run_id)
        return Drive(store, control, run_id, Limits(parallel, total, patience), Asking(cluster), THREADS)

    return Stepper(store, open_drive, hurry)


def tell(store: Store, cluster: Cluster) -> None:
    """A watcher looks once."""
    cluster.watch(lambda seen: store.launches.sight(seen.attempt_id, seen.why, seen.what), threading.Event())


def to_the_end(
    store: Store, run: RunRecord, cluster: Cluster, workers: list[Stepper], chance: random.Random
) -> State:
    """Attempts end in any order, any worker takes any step."""
    for _ in range(400):
        chance.choice(workers).advance(run.id)
        if store.runs.get(run.id).state.ended:
            return store.runs.get(run.id).state
        if cluster.running:
            cluster.finish(chance.choice(sorted(cluster.running)))
        tell(store, cluster)
    raise AssertionError(f"the run does not get on: {store.tasks.load(run.id)}")

"""An engine for tests: LocalControl on a real store, in a world that decides how attempts end."""

from __future__ import annotations

import itertools
import json
import random
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from unittest.mock import patch

from penstock.execution.control import Step
from penstock.execution.local_control import LocalControl
from penstock.execution.manifest import Outcome, OutputManifest
from penstock.execution.order import LaunchOrder
from penstock.ir import load
from penstock.model import Executor, Json, JsonObject, Pipeline, State, TaskRun
from penstock.planner.ledger import Ledger
from penstock.store import AttemptState, RunRecord, Store, new_id
from tests.unit.execution.idle_launcher import IdleLauncher
from tests.unit.planner.world_documents import document
from tests.unit.planner.worlds import attempt_succeeds, leaf_output

ARGUMENTS: Mapping[str, Json] = {"n": 4}


class CrashError(BaseException):
    """The process is gone. Nothing may catch this but the test."""


class StillLauncher(IdleLauncher):
    """Starts nothing: the test says how attempts end. `on_isolation` happens once, between judging and
    claiming.
    """

    name = "still"

    def __init__(self) -> None:
        self.on_isolation: Callable[[], None] | None = None

    def isolation(self, executor: Executor, platform: Mapping[str, Json]) -> str:
        happens, self.on_isolation = self.on_isolation, None
        if happens is not None:
            happens()
        return "nowhere"


def submit(store: Store, pipeline: Pipeline, arguments: Mapping[str, Json] = ARGUMENTS) -> RunRecord:
    version = store.pipelines.save(load(json.dumps(document(pipeline))))
    return store.runs.create(new_id(), version_id=version, name="random", arguments=arguments)


def new_control(
    store: Store,
    *,
    exclusive: bool = False,
    launcher: StillLauncher | None = None,
    readable: bool = True,
    clock: Callable[[], float] | None = None,
) -> LocalControl:
    """Its clock goes on by a second whenever it is looked at."""
    ticks = itertools.count(1_000_000_000.0)
    return LocalControl(
        store,
        launcher or StillLauncher(),
        lambda values: readable,
        "a test",
        exclusive=exclusive,
        clock=clock or (lambda: next(ticks)),
    )


@dataclass
class Chaos:
    """Chances per step, or per failpoint."""

    crash: float = 0.0
    repeat: float = 0.0
    lose: float = 0.0
    late: float = 0.0


@dataclass
class Scene:
    """One run driven to its end in a random order by one or several controls, each with hints of its own.

    `running` are the attempts that run, `launches` counts by path those that ended by themselves.
    """

    store: Store
    run_id: str
    pipeline: Pipeline
    world: int
    rng: random.Random
    chaos: Chaos = field(default_factory=Chaos)
    controls: int = 1
    exclusive: bool = True
    running: dict[str, LaunchOrder] = field(default_factory=dict[str, LaunchOrder])
    claimed: set[str] = field(default_factory=set[str])
    published: list[tuple[str, OutputManifest]] = field(default_factory=list[tuple[str, OutputManifest]])
    launches: dict[str, int] = field(default_factory=dict[str, int])
    _engines: list[tuple[LocalControl, list[str]]] = field(
        default_factory=list[tuple[LocalControl, list[str]]]
    )

    def to_the_end(self) -> dict[str, TaskRun]:
        with patch("penstock.execution.local_control.failpoint", self._failpoint):
            self._engines = [self._engine() for _ in range(self.controls)]
            for _ in range(20_000):
                if self.store.runs.get(self.run_id).state.ended:
                    assert not self.running, "the run ended around attempts that run"
                    return self.records()
                self._step()
        raise AssertionError("the run does not end")

    def records(self) -> dict[str, TaskRun]:
        return {record.path: record for record in self.store.tasks.load(self.run_id)}

    def publish_again(self) -> None:
        """Everything that was ever published comes once more, to a new control."""
        control = new_control(self.store, exclusive=self.exclusive)
        for path, manifest in self.published:
            assert control.publish(self.run_id, path, manifest) == Step()

    def _failpoint(self, name: str) -> None:
        if self.rng.random() < self.chaos.crash:
            raise CrashError(name)

    def _engine(self) -> tuple[LocalControl, list[str]]:
        """A new process, which may crash as it begins, as any other."""
        while True:
            control = new_control(self.store, exclusive=self.exclusive)
            try:
                step = control.begin(self.run_id)
            except CrashError:
                continue
            return control, [*step.following, *(path for path, _ in step.again)]

    def _step(self) -> None:
        number = self.rng.randrange(len(self._engines))
        control, hints = self._engines[number]
        try:
            if self.rng.random() < self.chaos.crash:
                raise CrashError("between two calls")
            if hints and self.rng.random() < self.chaos.repeat:
                hints.append(self.rng.choice(hints))
            if self.published and self.rng.random() < self.chaos.late:
                path, manifest = self.rng.choice(self.published)
                assert control.publish(self.run_id, path, manifest) == Step(), "what has ended counts once"
            elif hints and (not self.running or self.rng.random() < 0.6):
                self._prepare(control, hints)
            elif self.running:
                self._end(control, hints)
            else:
                assert any(others for _, others in self._engines), "the run stands still"
        except CrashError:
            self._engines[number] = self._engine()

    def _prepare(self, control: LocalControl, hints: list[str]) -> None:
        path = hints.pop(self.rng.randrange(len(hints)))
        step = control.prepare(self.run_id, path)
        self._follow(step, hints)
        order = step.order
        if order is None:
            return
        assert self.store.attempts.get(order.attempt_id).state is AttemptState.RUNNING, "it has ended already"
        if not step.adopted:
            assert order.attempt_id not in self.claimed, f"{path} was handed out twice"
            self._check_upstream(path)
        self.claimed.add(order.attempt_id)
        self.running[order.attempt_id] = order
        same = [one.attempt_id for one in self.running.values() if one.path == path]
        assert same == [order.attempt_id], f"{path} runs twice at once"

    def _check_upstream(self, path: str) -> None:
        parent = path.rpartition("/")[0]
        records = self.records()
        assert records[parent].state is State.RUNNING
        task = Ledger(self.pipeline, {}, {}).place(path).task
        assert task is not None
        for name in task.upstream if not path.endswith("]") else ():
            above = records[f"{parent}/{name}" if parent else name]
            assert above.state.ended, f"{path} ran before {above.path} had ended"

    def _end(self, control: LocalControl, hints: list[str]) -> None:
        attempt_id = self.rng.choice(sorted(self.running))
        order = self.running[attempt_id]
        manifest = natural = self._manifest(order)
        if self.rng.random() < self.chaos.lose:
            manifest = OutputManifest(attempt_id, Outcome.LOST)
        try:
            self._follow(control.publish(self.run_id, order.path, manifest), hints)
        finally:
            if self.store.attempts.get(attempt_id).state is not AttemptState.RUNNING:
                del self.running[attempt_id]
                self.published.append((order.path, manifest))
                if manifest is natural:
                    self.launches[order.path] = self.launches.get(order.path, 0) + 1
                else:
                    self.published.append((order.path, natural))

    def _manifest(self, order: LaunchOrder) -> OutputManifest:
        if attempt_succeeds(self.world, order.path, self.launches.get(order.path, 0)):
            outputs: JsonObject = {"out": leaf_output(order.inputs.parameters)}
            return OutputManifest(order.attempt_id, Outcome.SUCCEEDED, exit_code=0, parameters=outputs)
        return OutputManifest(order.attempt_id, Outcome.FAILED, exit_code=1, error="boom")

    def _follow(self, step: Step, hints: list[str]) -> None:
        hints.extend(step.following)
        hints.extend(path for path, _ in step.again)

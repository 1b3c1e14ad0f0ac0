"""Random pipelines whose tasks are those of a scheduler, which orders them by the outline: what is recorded
is what the oracle says.
"""

from __future__ import annotations

import random
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field

import pytest
from hypothesis import given

from penstock.execution.launcher import EndedAttempt
from penstock.execution.manifest import Outcome, OutputManifest
from penstock.execution.native import NativeRun
from penstock.execution.order import LaunchOrder
from penstock.execution.part import run_part
from penstock.model import State
from penstock.planner.outline import Form, Item, outline
from penstock.store import Store
from tests.unit.execution.control_worlds import StillLauncher, new_control, submit
from tests.unit.execution.test_control_properties import SEEDS, check, check_history, random_pipeline, some
from tests.unit.planner.worlds import Expected, attempt_succeeds, leaf_output


class DeadLauncher(StillLauncher):
    """What its attempts did, nobody knows."""

    def start(
        self,
        order: LaunchOrder,
        on_line: Callable[[str], None] | None = None,
        canceled: Callable[[], bool] | None = None,
    ) -> EndedAttempt:
        return EndedAttempt(OutputManifest(order.attempt_id, Outcome.LOST))


@pytest.fixture(scope="module")
def store(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Store]:
    with Store.open(f"sqlite:///{tmp_path_factory.mktemp('native')}/penstock.db") as opened:
        yield opened


@dataclass
class Node:
    """A task, or a group of tasks, of the scheduler. A loop is `mapped` once its items are known."""

    item: Item
    path: str
    before: list[Node] = field(default_factory=list["Node"])
    below: list[Node] = field(default_factory=list["Node"])
    mapped: bool = False
    done: bool = False
    tries: int = 0

    @property
    def ended(self) -> bool:
        group = self.item.form is Form.GROUP or self.mapped
        return all(one.ended for one in self.below) if group else self.done

    def ready(self) -> Iterator[Node]:
        """Tasks to start, at and below it: what stands before them has ended, in whatever way."""
        if self.ended or not all(one.ended for one in self.before):
            return
        if self.item.form is Form.GROUP or self.mapped:
            for one in self.below:
                yield from one.ready()
        else:
            yield self


def nodes(items: tuple[Item, ...], above: str) -> list[Node]:
    found: dict[str, Node] = {}
    for item in items:
        path = f"{above}/{item.name}" if above else item.name
        below = nodes(item.below, path) if item.form is Form.GROUP else []
        found[item.name] = Node(item, path, [found[name] for name in item.upstream], below)
    return list(found.values())


@dataclass
class Scheduler:
    """Runs them in any order that their edges allow. Some workers `die`: their task has ended then, and said
    nothing.
    """

    native: NativeRun
    world: int
    dice: random.Random
    tasks: list[Node]
    die: float = 0.0
    launches: dict[str, int] = field(default_factory=dict[str, int])

    def to_the_end(self) -> None:
        for _ in range(20_000):
            ready = [one for task in self.tasks for one in task.ready()]
            if not ready:
                assert all(one.ended for one in self.tasks)
                self.native.end()
                return
            self._start(self.dice.choice(ready))
        raise AssertionError("it does not end")

    def _start(self, node: Node) -> None:
        if self.dice.random() < self.die:
            self.native.prepare(node.path)
            node.done = True
        elif node.item.form is Form.LOOP:
            self._map(node)
        elif node.item.form is Form.WHOLE:
            node.done = not run_part(self.native, node.path, 2, self._manifest).wait
        else:
            self._run(node)

    def _map(self, node: Node) -> None:
        if self.native.prepare(node.path).wait:
            return
        record = self.native.record(node.path)
        for index in range((record.iterations or 0) if record and record.state is State.RUNNING else 0):
            path = f"{node.path}[{index}]"
            if node.item.below:
                node.below += nodes(node.item.below, path)
            else:
                task = Item(node.item.name, path, Form.TASK, node.item.task, node.item.component, ())
                node.below.append(Node(task, path))
        node.mapped = True

    def _run(self, node: Node) -> None:
        """Its retries are the scheduler's."""
        step = self.native.prepare(node.path)
        if step.wait:
            return
        if step.order is None:
            node.done = True
            return
        manifest = self._manifest(step.order)
        node.tries += 1
        retry = node.item.retry
        again = manifest.outcome is Outcome.FAILED and retry is not None and node.tries <= retry.max_retries
        self.native.control.publish(self.native.run_id, node.path, manifest, retry=again)
        node.done = not again

    def _manifest(self, order: LaunchOrder) -> OutputManifest:
        launch = self.launches.get(order.path, 0)
        self.launches[order.path] = launch + 1
        if attempt_succeeds(self.world, order.path, launch):
            outputs = {"out": leaf_output(order.inputs.parameters)}
            return OutputManifest(order.attempt_id, Outcome.SUCCEEDED, exit_code=0, parameters=outputs)
        return OutputManifest(order.attempt_id, Outcome.FAILED, exit_code=1, error="boom")


def scheduled(store: Store, shape: int, world: int, order: int, die: float = 0.0) -> tuple[str, Expected]:
    """The id of a run that has come to its end, and the oracle's account of it."""
    pipeline, expected = random_pipeline(shape, world)
    run = submit(store, pipeline)
    control = new_control(store)
    control.begin(run.id)
    native = NativeRun(control, DeadLauncher(), run.id)
    Scheduler(native, world, random.Random(order), nodes(outline(pipeline), ""), die).to_the_end()
    return run.id, expected


@some(4)
@given(shape=SEEDS, world=SEEDS, order=SEEDS)
def test_a_scheduler_of_its_own_comes_to_the_same(store: Store, shape: int, world: int, order: int) -> None:
    run_id, expected = scheduled(store, shape, world, order)
    check({record.path: record for record in store.tasks.load(run_id)}, expected)
    check_history(store, run_id)


@some(4)
@given(shape=SEEDS, world=SEEDS, order=SEEDS)
def test_every_task_has_an_end_when_workers_die(store: Store, shape: int, world: int, order: int) -> None:
    run_id, _ = scheduled(store, shape, world, order, die=0.2)
    assert store.runs.get(run_id).state.ended
    assert all(record.state.ended for record in store.tasks.load(run_id))

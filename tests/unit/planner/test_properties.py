"""Random pipelines under random interleavings, crashes and duplicated hints, judged by an oracle."""

from __future__ import annotations

import random
from dataclasses import replace

from hypothesis import given, settings
from hypothesis import strategies as st

from penstock.model import ROOT, Pipeline, State, TaskKind, TaskRun, Values
from penstock.planner.following import following, resume
from penstock.planner.ledger import Ledger
from penstock.planner.settle import may_retry, settle
from penstock.planner.verdict import Launch, Record, verdict
from tests.unit.planner.worlds import Builder, Oracle, attempt_succeeds, leaf_output

ARGUMENTS = {"n": 4}


class Engine:
    """The smallest engine over the planner: a bag of hints, a set of running attempts, a history of
    records.
    """

    def __init__(self, pipeline: Pipeline, world: int, order: int, *, chaos: bool) -> None:
        self.pipeline, self.world, self.chaos = pipeline, world, chaos
        self.rng = random.Random(order)
        self.history: list[TaskRun | tuple[str, ...]] = []
        self.running: dict[str, TaskRun] = {}
        self.launches: dict[str, int] = {}
        self.ledger = self.replayed()
        self.hints: list[str] = []
        self.write(TaskRun(ROOT, TaskKind.ROOT, State.RUNNING, inputs=Values(ARGUMENTS)))

    def replayed(self) -> Ledger:
        ledger = Ledger(self.pipeline, ARGUMENTS, {}, window=3)
        for entry in self.history:
            if isinstance(entry, TaskRun):
                ledger.apply(entry)
            else:
                ledger.forget(entry)
        return ledger

    def write(self, record: TaskRun) -> None:
        self.ledger.apply(record)
        self.history.append(record)
        settlement = settle(self.ledger, record.path)
        self.history.extend(settlement.ended)
        changed = [record.path, *(one.path for one in settlement.ended)]
        if settlement.restart is not None:
            self.history.append(settlement.restart.removed)
            self.history.append(settlement.restart.record)
            changed.append(settlement.restart.record.path)
        for path in changed:
            self.hints.extend(following(self.ledger, path))

    def step(self) -> None:
        if self.chaos and self.rng.random() < 0.03:
            self.ledger = self.replayed()
            self.hints = list(resume(self.ledger))
            return
        if self.chaos and self.hints and self.rng.random() < 0.2:
            self.hints.append(self.rng.choice(self.hints))
        if self.hints and (not self.running or self.rng.random() < 0.6):
            self.judge(self.hints.pop(self.rng.randrange(len(self.hints))))
        elif self.running:
            self.finish(self.rng.choice(sorted(self.running)))

    def judge(self, path: str) -> None:
        answer = verdict(self.ledger, path)
        if isinstance(answer, Record):
            if path.endswith("]"):
                self.check_parallelism(path)
            self.write(answer.task)
        elif isinstance(answer, Launch):
            for up in answer.task.upstream:
                state = self.ledger.get(f"{path.rpartition('/')[0]}/{up}".removeprefix("/"))
                assert path.endswith("]") or (state is not None and state.state.ended), (
                    f"{path} ran before {up}"
                )
            assert path not in self.running, f"{path} was started while it ran"
            former = self.ledger.get(path)
            record = TaskRun(
                path,
                TaskKind.CONTAINER,
                State.RUNNING,
                inputs=answer.inputs,
                generation=answer.generation,
                retries=former.retries if former else 0,
            )
            self.running[path] = record
            self.write(record)

    def check_parallelism(self, path: str) -> None:
        task = self.ledger.place(path).task
        assert task is not None and task.loop is not None
        recorded, ended, _, _ = self.ledger.counts(path[: path.rindex("[")])
        assert recorded - ended < min(task.loop.parallelism or 3, 3), f"{path} opened beyond the limit"

    def finish(self, path: str) -> None:
        record = self.running.pop(path)
        launch = self.launches.get(path, 0)
        self.launches[path] = launch + 1
        if attempt_succeeds(self.world, path, launch):
            outputs = Values({"out": leaf_output(record.inputs.parameters)})
            self.write(replace(record, state=State.SUCCEEDED, outputs=outputs))
        elif may_retry(self.ledger, path, record.retries + 1) is not None:
            self.write(replace(record, state=State.PENDING, retries=record.retries + 1))
            self.hints.append(path)
        else:
            self.write(replace(record, state=State.FAILED, error="boom"))

    def to_the_end(self) -> dict[str, TaskRun]:
        for _ in range(20_000):
            root = self.ledger.get(ROOT)
            assert root is not None
            if root.state.ended:
                assert not self.running
                return {record.path: record for record in self.ledger.records()}
            assert self.hints or self.running, "the run stands still"
            self.step()
        raise AssertionError("the run does not end")


@settings(deadline=None)
@given(
    shape=st.integers(0, 10**9), world=st.integers(0, 10**9), order=st.integers(0, 10**9), chaos=st.booleans()
)
def test_every_interleaving_ends_as_the_oracle_says(shape: int, world: int, order: int, chaos: bool) -> None:
    pipeline = Builder(random.Random(shape)).pipeline()
    expected = Oracle(pipeline, world, ARGUMENTS).found

    engine = Engine(pipeline, world, order, chaos=chaos)
    records = engine.to_the_end()

    assert {path: record.state.value for path, record in records.items()} == expected.states
    assert engine.launches == expected.launches
    outputs = {path: dict(record.outputs.parameters) for path, record in records.items()}
    assert outputs == expected.outputs


@settings(deadline=None)
@given(shape=st.integers(0, 10**9), world=st.integers(0, 10**9), order=st.integers(0, 10**9))
def test_replaying_the_history_gives_the_same_records(shape: int, world: int, order: int) -> None:
    pipeline = Builder(random.Random(shape)).pipeline()
    engine = Engine(pipeline, world, order, chaos=False)
    records = engine.to_the_end()

    replayed = engine.replayed()

    assert {record.path: record for record in replayed.records()} == records
    for path in records:
        assert replayed.counts(path) == engine.ledger.counts(path)
        assert replayed.open_upstreams(path) == engine.ledger.open_upstreams(path)


@settings(deadline=None)
@given(shape=st.integers(0, 10**9), world=st.integers(0, 10**9), one=st.integers(), other=st.integers())
def test_two_interleavings_record_the_same_errors_and_inputs(
    shape: int, world: int, one: int, other: int
) -> None:
    pipeline = Builder(random.Random(shape), retries=False).pipeline()

    first = Engine(pipeline, world, one, chaos=False).to_the_end()
    second = Engine(pipeline, world, other, chaos=True).to_the_end()

    assert first == second

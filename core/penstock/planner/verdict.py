"""*verdict*: given what is recorded, does this task launch, skip or fail, and with which inputs?"""

from __future__ import annotations

import json
from dataclasses import dataclass
from typing import TypeAlias, cast

from penstock.errors import ResolutionError, TaskError
from penstock.model import (
    NOTHING,
    ArtifactLoop,
    Component,
    Executor,
    ImporterExecutor,
    Json,
    Reason,
    State,
    Task,
    TaskKind,
    TaskRun,
    TriggerStrategy,
    Values,
)
from penstock.model import path as paths
from penstock.planner.expressions import evaluate_condition
from penstock.planner.inputs import (
    LEGACY_SCHEMA,
    MISSING,
    resolve_inputs,
    resolve_item,
    scope_artifacts,
    scope_parameter,
)
from penstock.planner.ledger import Ledger
from penstock.planner.values import parse_json


@dataclass(frozen=True, slots=True)
class Launch:
    """Start an attempt of this leaf task. `cacheable` says whether the cache may answer instead."""

    path: str
    task: Task
    component: Component
    executor: Executor
    inputs: Values
    generation: int
    cacheable: bool


@dataclass(frozen=True, slots=True)
class Record:
    """No attempt: write this record. It is a DAG or loop that opens, or a task that ends without running."""

    task: TaskRun


@dataclass(frozen=True, slots=True)
class Wait:
    """Not yet: these upstream tasks (paths) have not ended, or this loop may open no more iterations."""

    on: tuple[str, ...]


@dataclass(frozen=True, slots=True)
class Settled:
    """Nothing to decide: it runs, it has ended, or the DAG around it is closed (then `task` is None)."""

    task: TaskRun | None


Verdict: TypeAlias = Launch | Record | Wait | Settled


def verdict(ledger: Ledger, path: str) -> Verdict:
    """Judge the task at `path`, which is not the root. Raises KeyError for a path outside the pipeline."""
    record = ledger.get(path)
    if record is not None and record.state is not State.PENDING:
        return Settled(record)
    above = ledger.get(cast("str", paths.container(path)))
    if above is None or above.state is not State.RUNNING or _beyond(path, above):
        return Settled(record)
    generation = max(above.generation, record.generation if record is not None else 0)
    judge = _Judge(ledger, path, record, generation)
    if path.endswith("]"):
        return judge.iteration()
    return judge.task()


def _beyond(path: str, above: TaskRun) -> bool:
    """Whether the path is an iteration that its loop does not have (a hint from before a restart)."""
    return path.endswith("]") and cast("int", paths.split(path)[2]) >= (above.iterations or 0)


@dataclass(frozen=True, slots=True)
class _Judge:
    """One question: the path asked about, its record if there is one, the generation of a new record."""

    ledger: Ledger
    path: str
    record: TaskRun | None
    generation: int

    def task(self) -> Verdict:
        place = self.ledger.place(self.path)
        task = cast("Task", place.task)
        upstream = self._upstream(task)
        if isinstance(upstream, Wait):
            return upstream
        stopped = self._stopped()
        if stopped is not None:
            return stopped
        if upstream is not None:
            return upstream
        try:
            inputs = resolve_inputs(self.ledger, self.path, task, place.component)
        except TaskError as error:
            return self._failed(Reason.INPUT, str(error), NOTHING)
        if task.trigger.condition:
            try:
                legacy = self.ledger.pipeline.schema_version == LEGACY_SCHEMA
                holds = evaluate_condition(task.trigger.condition, inputs.parameters, legacy=legacy)
            except TaskError as error:
                return self._failed(Reason.CONDITION, str(error), inputs)
            if not holds:
                return Record(self._new(State.SKIPPED, inputs=inputs, reason=Reason.CONDITION))
        if task.loop is not None:
            return self._open_loop(task, inputs)
        return self._start(task, place.component, inputs)

    def iteration(self) -> Verdict:
        stopped = self._stopped()
        if stopped is not None:
            return stopped
        place = self.ledger.place(self.path)
        task = cast("Task", place.task)
        loop = task.loop
        loop_path, _, last = self.path.rpartition("[")
        index = int(last[:-1])
        if loop is None or index >= self.ledger.may_open(loop_path, loop.parallelism):
            return Wait((loop_path,))
        try:
            item = resolve_item(self.ledger, loop_path, index)
            if place.component.dag is None:
                item = self._leaf_iteration_inputs(place.component, item)
        except TaskError as error:
            return self._failed(Reason.INPUT, str(error), NOTHING)
        return self._start(task, place.component, item)

    def _upstream(self, task: Task) -> Wait | Record | None:
        parent = paths.split(self.path)[0]
        waiting: list[str] = []
        failed = skipped = canceled = ""
        for name in task.upstream:
            path = paths.child(parent, name)
            found = self.ledger.get(path)
            if found is None or not found.state.ended:
                waiting.append(path)
            elif found.state is State.FAILED or found.reason is Reason.UPSTREAM_FAILED:
                failed = failed or path
            elif found.state is State.CANCELED:
                canceled = canceled or path
            elif found.state is State.SKIPPED:
                skipped = skipped or path
        if waiting:
            return Wait(tuple(waiting))
        if task.trigger.strategy is TriggerStrategy.ALL_UPSTREAM_TASKS_COMPLETED:
            return None
        if canceled:
            return Record(self._new(State.CANCELED, reason=Reason.CANCELED))
        if failed:
            return Record(self._new(State.SKIPPED, reason=Reason.UPSTREAM_FAILED))
        if skipped:
            return Record(self._new(State.SKIPPED, reason=Reason.UPSTREAM_SKIPPED))
        return None

    def _stopped(self) -> Record | None:
        if self.ledger.canceled:
            return Record(self._new(State.CANCELED, reason=Reason.CANCELED))
        if self.ledger.stopping(self.path):
            return Record(self._new(State.SKIPPED, reason=Reason.FAIL_FAST))
        return None

    def _open_loop(self, task: Task, inputs: Values) -> Record:
        loop = task.loop
        assert loop is not None
        if isinstance(loop, ArtifactLoop):
            count = len(inputs.artifacts.get(loop.items_input, ()))
        elif loop.raw is not None:
            count = len(loop.raw)
        else:
            items = item_list(inputs.parameters.get(loop.items_input))
            if items is None:
                text = f"loop '{self.path}' needs a list in its input '{loop.items_input}', not " + _shown(
                    inputs.parameters.get(loop.items_input)
                )
                return self._failed(Reason.INPUT, text, inputs)
            inputs = Values({**inputs.parameters, loop.items_input: items}, inputs.artifacts)
            count = len(items)
        return Record(
            self._new(
                State.RUNNING, inputs=inputs, kind=TaskKind.LOOP, iterations=count, reason=self._reopened()
            )
        )

    def _start(self, task: Task, component: Component, inputs: Values) -> Launch | Record:
        if component.dag is not None:
            return Record(self._new(State.RUNNING, inputs=inputs, kind=TaskKind.DAG, reason=self._reopened()))
        return Launch(
            self.path,
            task,
            component,
            self.ledger.pipeline.executor_of(component),
            inputs,
            self.generation,
            cacheable=task.caching.enabled and self._reopened() is None,
        )

    def _leaf_iteration_inputs(self, component: Component, item: Values) -> Values:
        """A leaf component that is looped over directly takes its loop's inputs together with its item."""
        interface = component.interface
        parameters = dict(item.parameters)
        for name in interface.input_parameters:
            value = scope_parameter(self.ledger, self.path, name)
            if value is not MISSING:
                parameters.setdefault(name, value)
        artifacts = dict(item.artifacts)
        for name in interface.input_artifacts:
            many = scope_artifacts(self.ledger, self.path, name)
            if many is not None:
                artifacts.setdefault(name, many)
        return Values(parameters, artifacts)

    def _reopened(self) -> Reason | None:
        """REOPENED where the task, or a DAG around it, was cleared: the cache is passed over then."""
        if self.record is not None and self.record.reason is Reason.REOPENED:
            return Reason.REOPENED
        above = self.ledger.get(cast("str", paths.container(self.path)))
        return Reason.REOPENED if above is not None and above.reason is Reason.REOPENED else None

    def _failed(self, reason: Reason, error: str, inputs: Values) -> Record:
        return Record(self._new(State.FAILED, inputs=inputs, reason=reason, error=error))

    def _new(
        self,
        state: State,
        *,
        inputs: Values = NOTHING,
        kind: TaskKind | None = None,
        iterations: int | None = None,
        reason: Reason | None = None,
        error: str = "",
    ) -> TaskRun:
        former = self.record
        return TaskRun(
            path=self.path,
            kind=kind or kind_of(self.ledger, self.path),
            state=state,
            inputs=inputs,
            iterations=iterations,
            reason=reason,
            error=error,
            generation=self.generation,
            attempts=former.attempts if former is not None else 0,
            retries=former.retries if former is not None else 0,
        )


def kind_of(ledger: Ledger, path: str) -> TaskKind:
    """What stands at `path`: an iteration is of its component's kind, the task around it a LOOP."""
    place = ledger.place(path)
    if place.task is None:
        return TaskKind.ROOT
    if place.task.loop is not None and not path.endswith("]"):
        return TaskKind.LOOP
    if place.component.dag is not None:
        return TaskKind.DAG
    executor = ledger.pipeline.executor_of(place.component)
    return TaskKind.IMPORTER if isinstance(executor, ImporterExecutor) else TaskKind.CONTAINER


def item_list(value: Json) -> list[Json] | None:
    """KFP driver: the items of a loop are a list, or the JSON text of one."""
    if isinstance(value, str):
        try:
            value = parse_json(value)
        except ResolutionError:
            return None
    return value if isinstance(value, list) else None


def _shown(value: Json) -> str:
    text = json.dumps(value, ensure_ascii=False)
    return text if len(text) <= 80 else text[:77] + "..."

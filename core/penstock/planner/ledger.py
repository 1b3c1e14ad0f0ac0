"""What is recorded of one run, indexed so that each question of the planner costs what it touches."""

from __future__ import annotations

import re
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from typing import cast

from penstock.model import (
    ROOT,
    Component,
    Dag,
    Json,
    Pipeline,
    Reason,
    State,
    Task,
    TaskRun,
    TriggerStrategy,
)
from penstock.model import path as paths

_INDEX = re.compile(r"\[\d+\]")


@dataclass(frozen=True, slots=True)
class Place:
    """Where a path leads in the pipeline. `task` is None for the root."""

    task: Task | None
    component: Component
    exempt: bool
    """It, or a DAG around it, runs although upstream tasks failed: an exit handler's task, or
    ignore-upstream-failure.
    """


@dataclass(slots=True)
class _Children:
    """Counts over the recorded children of one DAG, loop or run."""

    names: dict[str, None]
    ended: int = 0
    failed: int = 0
    stopped: int = 0
    begun: int = 0
    """Of a loop: how many of its first iterations are recorded without a gap."""


class Ledger:
    """The records of one run. `fields` are the values of run-level placeholders, by name without `{{$.` and
    `}}`.

    `window` bounds how many iterations of one loop are open at a time when the pipeline sets no limit.
    `canceled` and `overdue` (the sentence about a passed deadline) are set by the engine; nothing new starts
    then. Not safe for use by several threads at once.
    """

    def __init__(
        self,
        pipeline: Pipeline,
        arguments: Mapping[str, Json],
        fields: Mapping[str, str],
        *,
        fail_fast: bool = False,
        window: int = 256,
        records: Iterable[TaskRun] = (),
    ) -> None:
        self.pipeline = pipeline
        self.arguments = arguments
        self.fields = fields
        self.fail_fast = fail_fast
        self.window = window
        self.canceled = False
        self.overdue = ""
        self._tasks: dict[str, TaskRun] = {}
        self._children: dict[str, _Children] = {}
        self._waiting: dict[str, int] = {}
        self._places: dict[str, Place] = {ROOT: Place(None, pipeline.root, exempt=False)}
        self._offered: dict[str, int] = {}
        self._fatal: set[str] = set()
        self._generation = 0
        for record in records:
            self.apply(record)

    # --- questions
    # ---------------------------------------------------------------------------------------------------

    def get(self, path: str) -> TaskRun | None:
        return self._tasks.get(path)

    def records(self) -> Iterable[TaskRun]:
        return self._tasks.values()

    def place(self, path: str) -> Place:
        """Raises KeyError for a path that is not in the pipeline."""
        static = _INDEX.sub("", path)
        found = self._places.get(static)
        if found is None:
            parent, _, name = static.rpartition("/")
            above = self.place(parent)
            dag = above.component.dag
            if dag is None:
                raise KeyError(path)
            task = dag.tasks[name]
            exempt = above.exempt or task.trigger.strategy is TriggerStrategy.ALL_UPSTREAM_TASKS_COMPLETED
            found = self._places[static] = Place(task, self.pipeline.component_of(task), exempt)
        return found

    def open_upstreams(self, path: str) -> int:
        """How many of the tasks that `path` waits for have not ended."""
        found = self._waiting.get(path)
        if found is None:
            task = self.place(path).task
            found = len(task.upstream) if task else 0
        return found

    def children(self, path: str) -> Iterable[str]:
        """Paths of the recorded children, in the order of their first record."""
        found = self._children.get(path)
        return found.names if found else ()

    def counts(self, path: str) -> tuple[int, int, int, int]:
        """(recorded, ended, failed, stopped) children of `path`. Stopped: canceled, or skipped by
        fail-fast.
        """
        found = self._children.get(path)
        return (len(found.names), found.ended, found.failed, found.stopped) if found else (0, 0, 0, 0)

    def descendants(self, path: str) -> list[str]:
        """Every record below `path`, parents before their children."""
        found: list[str] = []
        todo = list(self.children(path))
        while todo:
            one = todo.pop()
            found.append(one)
            todo.extend(self.children(one))
        return found

    def stopping(self, path: str) -> bool:
        """Whether nothing new may start at `path`: the run is being canceled, or a failure ends it
        (fail-fast).
        """
        if self.canceled:
            return True
        return self.fail_fast and bool(self._fatal) and not self.place(path).exempt

    def offer(self, loop_path: str, parallelism: int, iterations: int) -> range:
        """Indices of the iterations that may open now and were not offered before.

        Remembers that they were offered; like every hint, the memory of it goes with the process.
        """
        found = self._children.get(loop_path)
        offered = max(found.begun if found else 0, self._offered.get(loop_path, 0))
        until = max(offered, min(iterations, self.may_open(loop_path, parallelism)))
        self._offered[loop_path] = until
        return range(offered, until)

    def may_open(self, loop_path: str, parallelism: int) -> int:
        """Iterations below this index may be open now."""
        return self.counts(loop_path)[1] + min(parallelism or self.window, self.window)

    def next_generation(self) -> int:
        """One more than any generation recorded in the run."""
        return self._generation + 1

    # --- changes
    # -----------------------------------------------------------------------------------------------------

    def apply(self, record: TaskRun) -> None:
        """Take over a record; it replaces the former one at its path."""
        former = self._tasks.get(record.path)
        self._tasks[record.path] = record
        self._generation = max(self._generation, record.generation)
        if former is not None and former.generation != record.generation:
            self._offered.pop(record.path, None)
        if record.path == ROOT:
            return
        above = cast("str", paths.container(record.path))
        children = self._children.get(above)
        if children is None:
            children = self._children[above] = _Children({})
        children.names[record.path] = None
        if record.path.endswith("]"):
            while paths.iteration(above, children.begun) in children.names:
                children.begun += 1
        if former is not None and former.state.ended:
            self._count(children, former, -1)
        if record.state.ended:
            self._count(children, record, +1)

    def forget(self, removed: Iterable[str]) -> None:
        """Drop records, as after a restart of the DAG around them."""
        for path in removed:
            record = self._tasks.pop(path, None)
            self._offered.pop(path, None)
            if record is None:
                continue
            children = self._children[cast("str", paths.container(path))]
            children.names.pop(path, None)
            if not children.names:
                children.begun = 0
            if record.state.ended:
                self._count(children, record, -1)

    def _will_restart(self, path: str) -> bool:
        """Whether a nested pipeline around `path` has a retry left, so that a failure in it is not final."""
        for above in paths.ancestors(path):
            record, task = self._tasks.get(above), self.place(above).task
            if record and task and task.retry and record.retries < task.retry.max_retries:
                return True
        return False

    def _count(self, children: _Children, record: TaskRun, by: int) -> None:
        children.ended += by
        if record.state is State.FAILED:
            children.failed += by
            if by > 0 and not self._will_restart(record.path):
                self._fatal.add(record.path)
            else:
                self._fatal.discard(record.path)
        if is_stopped(record):
            children.stopped += by
        if record.path.endswith("]"):
            return
        parent, name, _ = paths.split(record.path)
        dag = cast("Dag", self.place(parent).component.dag)
        for dependent in dag.dependents.get(name, ()):
            path = paths.child(parent, dependent)
            self._waiting[path] = self.open_upstreams(path) - by


def is_stopped(record: TaskRun) -> bool:
    """Whether the record ended because the whole run was stopping, not by a decision about this task."""
    return record.state is State.CANCELED or (
        record.state is State.SKIPPED and record.reason is Reason.FAIL_FAST
    )

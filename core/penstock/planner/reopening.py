"""The way back from an end: what runs again when a run is retried, or a task in it is cleared."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field, replace

from penstock.errors import ResolutionError
from penstock.model import NOTHING, ROOT, Json, ParameterLoop, Reason, State, TaskKind, TaskRun, Values
from penstock.model import path as paths
from penstock.planner.inputs import resolve_inputs
from penstock.planner.ledger import Ledger
from penstock.planner.settle import CONTAINERS
from penstock.planner.verdict import item_list

_FOR_OTHERS = frozenset({Reason.UPSTREAM_FAILED, Reason.FAIL_FAST, Reason.CANCELED})


@dataclass(slots=True)
class Reopening:
    """`changes` are records of the new generation, `removed` the paths of records that go."""

    changes: dict[str, TaskRun] = field(default_factory=dict[str, TaskRun])
    removed: dict[str, None] = field(default_factory=dict[str, None])


def reopen(
    ledger: Ledger, generation: int, path: str = "", arguments: Mapping[str, Json] | None = None
) -> Reopening:
    """What becomes of the records of an ended run: what failed, or did not run for it, runs again.

    With `path`, that task runs again too, whatever its state, without the cache, and so does all that follows
    from it. `arguments`, all of the run's, count for what runs again. Raises KeyError for a path without a
    record. Leaves the ledger in between; whoever goes on reads the records anew.
    """
    work = _Reopen(ledger, generation, Reopening())
    if path:
        if ledger.get(path) is None:
            raise KeyError(path)
        work.again(path, Reason.REOPENED)
        for above in (path, *paths.ancestors(path)):
            if above != path:
                work.open(above)
            work.downstream(above)
    work.unfinished(ROOT)
    if arguments is not None and ROOT in work.found.changes:
        work.renew(arguments)
    return work.found


@dataclass(slots=True)
class _Reopen:
    ledger: Ledger
    generation: int
    found: Reopening

    def unfinished(self, path: str) -> None:
        """Reopen what did not succeed at and below `path`."""
        record = self.ledger.get(path)
        planned = self.found.changes.get(path)
        if (
            record is None
            or path in self.found.removed
            or (planned is not None and planned.state is State.PENDING)
        ):
            return
        if planned is None and not _unfinished(record):
            return
        children = list(self.ledger.children(path))
        if record.kind in CONTAINERS and (children or path == ROOT):
            self.open(path)
            for child in children:
                self.unfinished(child)
        else:
            self.again(path, None)
        self.downstream(path)

    def open(self, path: str) -> None:
        """A container that takes up its work again: what succeeded in it stays."""
        record = self.ledger.get(path)
        if record is not None and path not in self.found.removed and path not in self.found.changes:
            fresh = self._fresh(record)
            self.found.changes[path] = replace(
                fresh, state=State.RUNNING, outputs=NOTHING, reason=None, error=""
            )

    def again(self, path: str, reason: Reason | None) -> None:
        """A task that starts from nothing."""
        record = self.ledger.get(path)
        if record is None or path in self.found.removed:
            return
        if path in self.found.changes and self.found.changes[path].state is State.PENDING:
            return
        for below in self.ledger.descendants(path):
            self.found.removed[below] = None
            self.found.changes.pop(below, None)
        self.found.changes.pop(path, None)
        self.found.changes[path] = replace(
            self._fresh(record),
            state=State.PENDING,
            inputs=NOTHING,
            outputs=NOTHING,
            iterations=None,
            cached=False,
            reason=reason,
            error="",
            fingerprint="",
        )

    def downstream(self, path: str) -> None:
        """All that waits, directly or not, for the task at `path` within its DAG."""
        if path == ROOT:
            return
        parent, name, _ = paths.split(path)
        dag = self.ledger.place(parent).component.dag
        todo: list[str] = [name]
        seen: set[str] = set()
        while todo and dag is not None:
            for dependent in dag.dependents.get(todo.pop(), ()):
                if dependent not in seen:
                    seen.add(dependent)
                    todo.append(dependent)
                    self.again(paths.child(parent, dependent), None)

    def renew(self, arguments: Mapping[str, Json]) -> None:
        """Hand new arguments down through the containers that take up their work again.

        A loop whose items change, and a DAG whose condition may now be another, start from nothing.
        """
        changes = self.found.changes
        root = changes[ROOT]
        changes[ROOT] = replace(root, inputs=Values(arguments, root.inputs.artifacts))
        self.ledger.apply(changes[ROOT])
        opened = [one for one, record in changes.items() if record.state is State.RUNNING and one != ROOT]
        for path in sorted(opened, key=lambda one: (one.count("/"), one.endswith("]"))):
            record = changes.get(path)
            if record is None or record.state is not State.RUNNING or path.endswith("]"):
                continue
            inputs = self._inputs_anew(path, record)
            task = self.ledger.place(path).task
            conditional = task is not None and bool(task.trigger.condition)
            another = _items(self.ledger, path, inputs) != _items(self.ledger, path, record.inputs)
            if another or (conditional and inputs != record.inputs):
                self.again(path, None)
            else:
                changes[path] = replace(record, inputs=inputs)
                self.ledger.apply(changes[path])

    def _inputs_anew(self, path: str, record: TaskRun) -> Values:
        place = self.ledger.place(path)
        assert place.task is not None
        try:
            found = resolve_inputs(self.ledger, path, place.task, place.component)
        except ResolutionError:
            return record.inputs
        loop = place.task.loop
        if record.kind is TaskKind.LOOP and isinstance(loop, ParameterLoop) and loop.raw is None:
            items = item_list(found.parameters.get(loop.items_input))
            found = Values({**found.parameters, loop.items_input: items}, found.artifacts)
        return found

    def _fresh(self, record: TaskRun) -> TaskRun:
        return replace(
            record,
            generation=self.generation,
            attempts=0,
            retries=0,
            retry_at=None,
            started_at=None,
            ended_at=None,
        )


def _unfinished(record: TaskRun) -> bool:
    return record.state in (State.FAILED, State.CANCELED) or (
        record.state is State.SKIPPED and record.reason in _FOR_OTHERS
    )


def _items(ledger: Ledger, path: str, inputs: Values) -> object:
    """What a loop goes over; None for what is no loop."""
    task = ledger.place(path).task
    if task is None or task.loop is None:
        return None
    name = task.loop.items_input
    return inputs.parameters.get(name), inputs.artifacts.get(name)

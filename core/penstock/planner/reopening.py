"""The way back from an end: what runs again when a run is retried, or a task in it is cleared."""

from __future__ import annotations

from dataclasses import dataclass, field, replace

from penstock.model import NOTHING, ROOT, Reason, State, TaskRun
from penstock.model import path as paths
from penstock.planner.ledger import Ledger
from penstock.planner.settle import CONTAINERS

_FOR_OTHERS = frozenset({Reason.UPSTREAM_FAILED, Reason.FAIL_FAST, Reason.CANCELED})


@dataclass(slots=True)
class Reopening:
    """`changes` are records of the new generation, containers before what is in them; `removed` are dropped records."""

    changes: dict[str, TaskRun] = field(default_factory=dict[str, TaskRun])
    removed: dict[str, None] = field(default_factory=dict[str, None])


def reopen(ledger: Ledger, generation: int, path: str = "") -> Reopening:
    """What becomes of the records of an ended run: everything that failed, was canceled, or was skipped for it runs again.

    With `path`, that task runs again too, whatever its state, without the cache, and so does all that follows from it.
    Raises KeyError for a path without a record.
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
        if record is None or path in self.found.removed or (planned is not None and planned.state is State.PENDING):
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
            self.found.changes[path] = replace(fresh, state=State.RUNNING, outputs=NOTHING, reason=None, error="")

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

    def _fresh(self, record: TaskRun) -> TaskRun:
        return replace(
            record, generation=self.generation, attempts=0, retries=0, retry_at=None, started_at=None, ended_at=None
        )


def _unfinished(record: TaskRun) -> bool:
    return record.state in (State.FAILED, State.CANCELED) or (
        record.state is State.SKIPPED and record.reason in _FOR_OTHERS
    )


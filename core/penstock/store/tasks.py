"""Task records: changed by compare-and-set, each change in the history of the same transaction."""

from __future__ import annotations

import time
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import replace
from typing import Any, NamedTuple

import sqlalchemy as sa

from penstock.errors import IllegalTransitionError, NotFoundError
from penstock.model import Reason, State, TaskKind, TaskRun
from penstock.model import path as paths
from penstock.store import heads
from penstock.store.columns import dump_values, load_values, plain
from penstock.store.connection import Database
from penstock.store.records import HistoryRecord
from penstock.store.schema import task_history, tasks
from penstock.store.transitions import check_task

_t = tasks.c
_COLUMNS = (
    _t.path,
    _t.kind,
    _t.state,
    _t.inputs,
    _t.outputs,
    _t.iterations,
    _t.cached,
    _t.reason,
    _t.error,
    _t.generation,
    _t.attempts,
    _t.retries,
    _t.retry_at,
    _t.fingerprint,
    _t.started_at,
    _t.ended_at,
)
_OF_RUN = sa.select(_t.first_revision, *_COLUMNS).where(_t.run_id == sa.bindparam("run"))
_ONE = sa.select(*_COLUMNS).where(_t.run_id == sa.bindparam("run"), _t.path == sa.bindparam("at"))
_PAGE = (
    sa.select(*_COLUMNS).where(_t.run_id == sa.bindparam("run")).order_by(_t.path).limit(sa.bindparam("many"))
)
_CHILDREN = _OF_RUN.where(_t.parent_path == sa.bindparam("above"))
_FORMER = sa.select(_t.path, _t.state, _t.generation, _t.started_at, _t.first_revision).where(
    _t.run_id == sa.bindparam("run")
)
_FORMER_ONE = _FORMER.where(_t.path == sa.bindparam("at"))
_FORMER_MANY = _FORMER.where(_t.path.in_(sa.bindparam("at", expanding=True)))
_INSERT = sa.insert(tasks)
_UPDATE = (
    sa.update(tasks)
    .where(_t.run_id == sa.bindparam("run"), _t.path == sa.bindparam("at"))
    .values({name: sa.bindparam(name) for name in ("revision", *(column.name for column in _COLUMNS[1:]))})
)
_DELETE = sa.delete(tasks).where(_t.run_id == sa.bindparam("run"), _t.path == sa.bindparam("at"))
_WRITE_HISTORY = sa.insert(task_history)
_HISTORY = (
    sa.select(
        task_history.c.revision,
        task_history.c.path,
        task_history.c.generation,
        task_history.c.state,
        task_history.c.reason,
        task_history.c.at,
    )
    .where(task_history.c.run_id == sa.bindparam("run"), task_history.c.revision > sa.bindparam("after"))
    .order_by(task_history.c.revision)
)


class _Former(NamedTuple):
    state: State
    generation: int
    started_at: float | None
    first_revision: int


class Tasks:
    def __init__(self, database: Database) -> None:
        self._database = database

    def load(self, run_id: str) -> list[TaskRun]:
        """Every record of the run, in the order in which they first appeared."""
        with self._database.read() as connection:
            rows = connection.execute(_OF_RUN, {"run": run_id}).all()
        return _in_order(rows)

    def page(self, run_id: str, *, limit: int = 100, after: str | None = None) -> list[TaskRun]:
        """A page of the run's records by path. `after` is the path of the last record of the page before."""
        query = _PAGE if after is None else _PAGE.where(_t.path > sa.bindparam("last"))
        with self._database.read() as connection:
            rows = connection.execute(query, {"run": run_id, "many": limit, "last": after})
            return [_task(row) for row in rows]

    def find(self, run_id: str, path: str) -> TaskRun | None:
        with self._database.read() as connection:
            row = connection.execute(_ONE, {"run": run_id, "at": path}).one_or_none()
        return None if row is None else _task(row)

    def get(self, run_id: str, path: str) -> TaskRun:
        """Raises NotFoundError."""
        found = self.find(run_id, path)
        if found is None:
            raise NotFoundError(f"run {run_id} has no record of a task '{path}'")
        return found

    def children(self, run_id: str, path: str) -> list[TaskRun]:
        """The records right below `path`: a DAG's tasks, a loop's iterations."""
        with self._database.read() as connection:
            rows = connection.execute(_CHILDREN, {"run": run_id, "above": path}).all()
        return _in_order(rows)

    def history(self, run_id: str, after: int = 0) -> list[HistoryRecord]:
        """Every change of the run's tasks in order, from the one after the revision `after` on."""
        with self._database.read() as connection:
            rows = connection.execute(_HISTORY, {"run": run_id, "after": after}).all()
        return [
            HistoryRecord(
                revision,
                path,
                generation,
                State(state) if state else None,
                Reason(reason) if reason else None,
                at,
            )
            for revision, path, generation, state, reason, at in rows
        ]

    def record(
        self, run_id: str, changes: Sequence[TaskRun], *, token: int | None = None
    ) -> tuple[TaskRun, ...]:
        """Write the records in one transaction, and answer with them as they stand now.

        A missing `started_at` or `ended_at` of a state that has one is set. An ended task's very record may
        come again and changes nothing. `token` is that of the engine's lease, None where no engine drives
        the run (native tasks). Raises IllegalTransitionError for a forbidden change, or one that an earlier
        generation makes, LeaseError when another engine has taken the run over; then nothing is written.
        """
        return self._write(run_id, changes, (), token, reopening=False)

    def reopen(
        self,
        run_id: str,
        changes: Sequence[TaskRun],
        *,
        removed: Iterable[str] = (),
        token: int | None = None,
    ) -> tuple[TaskRun, ...]:
        """The one way back from an end: as `record`, but to PENDING or RUNNING in a later generation.

        `runs.reopen` gives the generation. `removed` go as by `remove`.
        """
        return self._write(run_id, changes, removed, token, reopening=True)

    def remove(self, run_id: str, removed: Iterable[str], *, token: int | None = None) -> None:
        """Drop records, as when the nested pipeline around them starts anew. Attempts and history stay."""
        self._write(run_id, (), removed, token, reopening=False)

    def _write(
        self,
        run_id: str,
        changes: Sequence[TaskRun],
        removed: Iterable[str],
        token: int | None,
        *,
        reopening: bool,
    ) -> tuple[TaskRun, ...]:
        gone = list(removed)
        if not changes and not gone:
            return ()
        now = time.time()
        with self._database.write() as connection:
            head = heads.lock(connection, run_id, token)
            formers = _formers(connection, run_id, [*gone, *(change.path for change in changes)])
            draft = _Draft(run_id, head, now)
            for path in gone:
                former = formers.pop(path, None)
                if former is not None:
                    draft.remove(path, former)
            recorded: list[TaskRun] = []
            for change in changes:
                former = formers.get(change.path)
                if former is not None and former.state.ended and not reopening:
                    recorded.append(_repeated(connection, run_id, change))
                    continue
                if reopening:
                    _check_reopening(change, former)
                else:
                    check_task(change.path, former.state if former else None, change.state)
                if former is not None and change.generation < former.generation:
                    raise IllegalTransitionError(
                        f"task '{change.path}' was reopened meanwhile (generation {former.generation}); "
                        f"a change of generation {change.generation} comes too late"
                    )
                timed = _timed(change, former, now)
                formers[change.path] = draft.write(timed, former)
                recorded.append(timed)
            draft.execute(connection)
        return tuple(recorded)


class _Draft:
    """The rows that one call writes."""

    def __init__(self, run_id: str, head: heads.Head, now: float) -> None:
        self._run_id = run_id
        self._head = head
        self._revision = head.revision
        self._generation = head.generation
        self._now = now
        self._inserts: list[dict[str, Any]] = []
        self._updates: list[dict[str, Any]] = []
        self._deletes: list[dict[str, Any]] = []
        self._history: list[dict[str, Any]] = []

    def write(self, task: TaskRun, former: _Former | None) -> _Former:
        self._log(task.path, task.generation, task.state.value, task.reason.value if task.reason else None)
        self._generation = max(self._generation, task.generation)
        row = _row(task)
        row["revision"] = self._revision
        if former is None:
            row["run_id"] = self._run_id
            row["path"] = task.path
            row["parent_path"] = paths.container(task.path)
            row["first_revision"] = self._revision
            self._inserts.append(row)
        else:
            row["run"] = self._run_id
            row["at"] = task.path
            self._updates.append(row)
        first = former.first_revision if former is not None else self._revision
        return _Former(task.state, task.generation, task.started_at, first)

    def remove(self, path: str, former: _Former) -> None:
        self._log(path, former.generation, None, None)
        self._deletes.append({"run": self._run_id, "at": path})

    def execute(self, connection: sa.Connection) -> None:
        for statement, rows in (
            (_DELETE, self._deletes),
            (_INSERT, self._inserts),
            (_UPDATE, self._updates),
            (_WRITE_HISTORY, self._history),
        ):
            if rows:
                connection.execute(statement, rows if len(rows) > 1 else rows[0])
        if self._history:
            heads.move(connection, self._run_id, self._revision, self._generation)

    def _log(self, path: str, generation: int, state: str | None, reason: str | None) -> None:
        self._revision += 1
        self._history.append(
            {
                "run_id": self._run_id,
                "revision": self._revision,
                "path": path,
                "generation": generation,
                "state": state,
                "reason": reason,
                "at": self._now,
            }
        )


def _formers(connection: sa.Connection, run_id: str, wanted: list[str]) -> dict[str, _Former]:
    found: dict[str, _Former] = {}
    for rows in _former_rows(connection, run_id, wanted):
        for path, state, generation, started_at, first in rows:
            found[path] = _Former(State(state), generation, started_at, first)
    return found


def _former_rows(
    connection: sa.Connection, run_id: str, wanted: list[str]
) -> Iterator[Sequence[Sequence[Any]]]:
    if len(wanted) == 1:
        yield connection.execute(_FORMER_ONE, {"run": run_id, "at": wanted[0]}).all()
        return
    for start in range(0, len(wanted), 500):
        yield connection.execute(_FORMER_MANY, {"run": run_id, "at": wanted[start : start + 500]}).all()


def _repeated(connection: sa.Connection, run_id: str, change: TaskRun) -> TaskRun:
    """The record as it stands, if `change` says the same; an illegal transition otherwise."""
    former = _task(connection.execute(_ONE, {"run": run_id, "at": change.path}).one())
    same = replace(
        change,
        error=plain(change.error),
        started_at=former.started_at if change.started_at is None else change.started_at,
        ended_at=former.ended_at if change.ended_at is None else change.ended_at,
    )
    if same != former:
        if change.state is former.state:
            raise IllegalTransitionError(
                f"task '{change.path}' has ended {former.state} and its record cannot change; "
                "reopen it to run it again"
            )
        check_task(change.path, former.state, change.state)
    return former


def _check_reopening(change: TaskRun, former: _Former | None) -> None:
    name = f"task '{change.path}'" if change.path else "the run's own DAG"
    if change.state not in (State.PENDING, State.RUNNING):
        raise IllegalTransitionError(
            f"{name} cannot be reopened as {change.state}, only as PENDING or RUNNING"
        )
    if former is not None and former.state.ended and change.generation <= former.generation:
        raise IllegalTransitionError(
            f"{name} has ended in generation {former.generation} and needs a later one to be reopened"
        )


def _timed(task: TaskRun, former: _Former | None, now: float) -> TaskRun:
    """The first start within a generation counts; an end is now unless it is given."""
    started, ended = task.started_at, task.ended_at
    if started is None:
        if former is not None and former.generation == task.generation:
            started = former.started_at
        if started is None and task.state in (State.RUNNING, State.SUCCEEDED, State.FAILED):
            started = now
    if ended is None and task.state.ended:
        ended = now
    return replace(task, started_at=started, ended_at=ended, error=plain(task.error))


def _row(task: TaskRun) -> dict[str, Any]:
    return {
        "kind": task.kind.value,
        "state": task.state.value,
        "inputs": dump_values(task.inputs),
        "outputs": dump_values(task.outputs),
        "iterations": task.iterations,
        "cached": task.cached,
        "reason": task.reason.value if task.reason else None,
        "error": task.error,
        "generation": task.generation,
        "attempts": task.attempts,
        "retries": task.retries,
        "retry_at": task.retry_at,
        "fingerprint": task.fingerprint,
        "started_at": task.started_at,
        "ended_at": task.ended_at,
    }


def _in_order(rows: Sequence[Sequence[Any]]) -> list[TaskRun]:
    return [_task(row[1:]) for row in sorted(rows, key=lambda row: row[0])]


def _task(row: Sequence[Any]) -> TaskRun:
    path, kind, state, inputs, outputs, iterations, cached, reason, error, *rest = row
    return TaskRun(
        path,
        TaskKind(kind),
        State(state),
        load_values(inputs),
        load_values(outputs),
        iterations,
        cached,
        Reason(reason) if reason else None,
        error,
        *rest,
    )

"""Runs: created once, moved by compare-and-set, found by what a person remembers of them."""

from __future__ import annotations

import time
from collections.abc import Collection, Mapping, Sequence
from functools import cache
from typing import Any

import sqlalchemy as sa

from penstock.errors import IllegalTransitionError, InvalidInputError, NotFoundError
from penstock.model import NOTHING, Json, State, Values
from penstock.store import heads
from penstock.store.agenda import Agenda
from penstock.store.columns import dump, dump_sorted, dump_values, load_object, load_values, plain
from penstock.store.connection import Database
from penstock.store.dialect import SECONDS, insert_if_absent
from penstock.store.experiments import Experiments
from penstock.store.namespaces import DEFAULT, Namespaces
from penstock.store.records import RunRecord, StorageState
from penstock.store.removals import Removals
from penstock.store.schema import experiments, pipeline_versions, pipelines, run_heads, runs
from penstock.store.transitions import check_run

_r = runs.c
_h = run_heads.c
_COLUMNS = (
    _r.id,
    _r.namespace,
    experiments.c.name.label("experiment"),
    pipelines.c.name.label("pipeline"),
    _r.version_id,
    pipeline_versions.c.digest,
    _r.name,
    _r.resource_name,
    _r.arguments,
    _r.pipeline_root,
    _r.options,
    _r.state,
    _r.error,
    _r.outputs,
    _r.storage_state,
    _r.created_at,
    _r.started_at,
    _r.ended_at,
    _r.cancel_requested_at,
    _h.owner,
    _h.expires_at,
    _h.token,
    _h.generation,
    _h.revision,
)
_NAMES = tuple(column.name for column in _COLUMNS)
_BLANK = dict.fromkeys(_NAMES)
_SELECT = sa.select(*_COLUMNS).select_from(
    runs.join(run_heads, _h.run_id == _r.id)
    .join(pipeline_versions, pipeline_versions.c.id == _r.version_id)
    .join(pipelines, pipelines.c.id == pipeline_versions.c.pipeline_id)
    .outerjoin(experiments, experiments.c.id == _r.experiment_id)
)
_ONE = _SELECT.where(_r.id == sa.bindparam("run"))
_MANY = _SELECT.where(_r.id.in_(sa.bindparam("wanted", expanding=True)))
_STATE = sa.select(_r.state, _r.started_at).where(_r.id == sa.bindparam("run"))
_SET = sa.update(runs).where(_r.id == sa.bindparam("run"))
_INSERT_HEAD = sa.insert(run_heads)
_ABOUT = (
    sa.select(pipelines.c.name, pipeline_versions.c.digest, experiments.c.id)
    .join(pipeline_versions, pipeline_versions.c.pipeline_id == pipelines.c.id)
    .outerjoin(
        experiments,
        sa.and_(
            experiments.c.namespace == sa.bindparam("owner"), experiments.c.name == sa.bindparam("group")
        ),
    )
    .where(pipeline_versions.c.id == sa.bindparam("version"))
)
_CANCELING = sa.select(_r.cancel_requested_at).where(_r.id == sa.bindparam("run"))


class Runs:
    def __init__(
        self, database: Database, namespaces: Namespaces, experiments: Experiments, agenda: Agenda
    ) -> None:
        self._database = database
        self._agenda = agenda
        self._namespaces = namespaces
        self._experiments = experiments

    def create(
        self,
        run_id: str,
        *,
        version_id: str,
        name: str,
        arguments: Mapping[str, Json],
        resource_name: str = "",
        pipeline_root: str = "",
        options: Mapping[str, Json] | None = None,
        namespace: str = DEFAULT,
        experiment: str | None = None,
    ) -> RunRecord:
        """Record a new run, PENDING. The same id with the same version and arguments gives the run as it is.

        Raises InvalidInputError when the id is taken by a run of something else, NotFoundError without the
        version.
        """
        with self._database.write() as connection:
            wanted = {"owner": namespace, "group": experiment or "", "version": version_id}
            about = connection.execute(_ABOUT, wanted).one_or_none()
            if about is None:
                raise NotFoundError(f"pipeline version {version_id} is not recorded")
            pipeline, digest, group = about
            if not experiment:
                self._namespaces.ensure(namespace)
                group = None
            elif group is None:
                group = self._experiments.ensure(experiment, namespace).id
            new = {
                "id": run_id,
                "namespace": namespace,
                "experiment_id": group,
                "version_id": version_id,
                "name": plain(name),
                "resource_name": plain(resource_name),
                "arguments": dump(arguments),
                "pipeline_root": pipeline_root,
                "options": dump(options or {}),
                "state": State.PENDING.value,
                "error": "",
                "outputs": "{}",
                "storage_state": StorageState.AVAILABLE.value,
                "created_at": time.time(),
            }
            if connection.execute(insert_if_absent(connection, runs), new).rowcount == 1:
                head = {"run_id": run_id, "revision": 0, "generation": 0, "token": 0}
                connection.execute(_INSERT_HEAD, head)
                names = {"experiment": experiment or None, "pipeline": pipeline, "digest": digest}
                return _run([{**_BLANK, **new, **head, **names}[name] for name in _NAMES])
            found = self.get(run_id)
            if found.version_id != version_id or dump_sorted(found.arguments) != dump_sorted(arguments):
                raise InvalidInputError(
                    f"run {run_id} exists already with another pipeline or other arguments; choose another id"
                )
            return found

    def get(self, run_id: str) -> RunRecord:
        """Raises NotFoundError."""
        with self._database.read() as connection:
            row = connection.execute(_ONE, {"run": run_id}).one_or_none()
        if row is None:
            raise NotFoundError(f"run {run_id} is not recorded")
        return _run(row)

    def find(self, reference: str, namespace: str | None = None) -> RunRecord:
        """The run that a person means: by its id, a beginning or an end of it that no other has, or its name.

        Raises NotFoundError, InvalidInputError when several fit.
        """
        query = _SELECT if namespace is None else _SELECT.where(_r.namespace == namespace)
        fitting = [_r.id == reference]
        if len(reference) >= 4:
            part = reference.lower()
            fitting.append(
                sa.or_(_r.id.startswith(part, autoescape=True), _r.id.endswith(part, autoescape=True))
            )
        fitting.append(_r.name == reference)
        with self._database.read() as connection:
            for condition in fitting:
                rows = connection.execute(
                    query.where(condition).order_by(_r.created_at.desc()).limit(4)
                ).all()
                if len(rows) == 1:
                    return _run(rows[0])
                if rows:
                    some = ", ".join(row[0] for row in rows[:3]) + (", …" if len(rows) > 3 else "")
                    raise InvalidInputError(f"'{reference}' fits several runs ({some}); give the whole id")
        raise NotFoundError(f"there is no run '{reference}'; `penstock runs list` shows which there are")

    def list(
        self,
        namespace: str | None = None,
        *,
        state: State | None = None,
        experiment: str | None = None,
        pipeline: str | None = None,
        storage_state: StorageState | None = StorageState.AVAILABLE,
        limit: int = 50,
        before: str | None = None,
    ) -> list[RunRecord]:
        """Newest first. `before` is the id of the last run of the page before this one."""
        given: dict[str, Any] = {
            "in_namespace": namespace,
            "in_state": None if state is None else state.value,
            "stored": None if storage_state is None else storage_state.value,
            "in_experiment": experiment,
            "of_pipeline": pipeline,
        }
        given = {name: value for name, value in given.items() if value is not None}
        with self._database.read() as connection:
            if before is not None:
                last = self.get(before)
                given |= {"last_time": last.created_at, "last_id": last.id}
            rows = connection.execute(_page(frozenset(given)), {**given, "many": limit})
            return [_run(row) for row in rows]

    def many(self, run_ids: Sequence[str]) -> dict[str, RunRecord]:
        """The records of those that are known, by id."""
        found: dict[str, RunRecord] = {}
        with self._database.read() as connection:
            for start in range(0, len(run_ids), 500):
                rows = connection.execute(_MANY, {"wanted": list(run_ids[start : start + 500])})
                found.update((row[0], _run(row)) for row in rows)
        return found

    def transition(
        self,
        run_id: str,
        expected: Collection[State],
        new: State,
        *,
        error: str | None = None,
        outputs: Values | None = None,
        started_at: float | None = None,
        ended_at: float | None = None,
        token: int | None = None,
    ) -> None:
        """Move the run from one of the `expected` states. A start and an end are now unless they are given.

        Raises IllegalTransitionError when it is in another state or the change is forbidden, LeaseError for a
        former `token`, NotFoundError.
        """
        now = time.time()
        with self._database.write() as connection:
            heads.lock(connection, run_id, token)
            former, started = self._state(connection, run_id)
            if former not in expected:
                wanted = " or ".join(sorted(expected))
                raise IllegalTransitionError(
                    f"run {run_id} is {former}, not {wanted}; it cannot become {new}"
                )
            check_run(run_id, former, new)
            changed: dict[str, Any] = {"run": run_id, "state": new.value}
            if error is not None:
                changed["error"] = plain(error)
            if outputs is not None:
                changed["outputs"] = dump_values(outputs)
            if started_at is not None:
                changed["started_at"] = started_at
            elif new is State.RUNNING and started is None:
                changed["started_at"] = now
            if new.ended:
                changed["ended_at"] = now if ended_at is None else ended_at
            connection.execute(_SET, changed)

    def reopen(self, run_id: str, *, token: int | None = None) -> int:
        """The one way back from an end: PENDING again, without its error, outputs and request to cancel.

        A run that has not ended stays as it is. Answers with a generation that no task of the run has had
        (see `tasks.reopen`). Raises LeaseError when `token` is a former one, NotFoundError.
        """
        with self._database.write() as connection:
            head = heads.lock(connection, run_id, token)
            former, _ = self._state(connection, run_id)
            if former.ended:
                fresh = {
                    "run": run_id,
                    "state": State.PENDING.value,
                    "error": "",
                    "outputs": dump_values(NOTHING),
                    "ended_at": None,
                    "cancel_requested_at": None,
                }
                connection.execute(_SET, fresh)
            heads.move(connection, run_id, head.revision, head.generation + 1)
            return head.generation + 1

    def request_cancel(self, run_id: str) -> bool:
        """Ask whoever drives the run to cancel it. False when it has ended. Raises NotFoundError."""
        with self._database.write() as connection:
            heads.lock(connection, run_id, None)
            state, _ = self._state(connection, run_id)
            if state.ended:
                return False
            if not self.cancel_requested(run_id):
                connection.execute(_SET, {"run": run_id, "cancel_requested_at": time.time()})
            self._agenda.wake(run_id)
            return True

    def revision(self, run_id: str) -> int:
        """Rises with every change of a task of the run.

        Within a transaction nobody else changes the run from then on. Raises NotFoundError.
        """
        with self._database.write() as connection:
            return heads.lock(connection, run_id, None).revision

    def cancel_requested(self, run_id: str) -> bool:
        with self._database.read() as connection:
            return connection.execute(_CANCELING, {"run": run_id}).scalar_one_or_none() is not None

    def store_away(self, run_id: str, storage_state: StorageState) -> None:
        """Archive a run, or take it out of the archive. Raises NotFoundError."""
        with self._database.write() as connection:
            heads.lock(connection, run_id, None)
            connection.execute(_SET, {"run": run_id, "storage_state": storage_state.value})

    def delete(self, run_id: str) -> None:
        """Remove the run's records; what it made goes when `removals.contents` are dealt with.

        Raises NotFoundError, and InvalidInputError for a run that has to stay (see `removals.weigh`).
        """
        self.get(run_id)
        removals = Removals(self._database)
        kept = removals.mark([run_id]).kept
        if kept:
            raise InvalidInputError(f"run {run_id} cannot be removed: {kept[run_id]}")
        while removals.purge() is not None:
            pass

    @staticmethod
    def _state(connection: sa.Connection, run_id: str) -> tuple[State, float | None]:
        state, started_at = connection.execute(_STATE, {"run": run_id}).one()
        return State(state), started_at


@cache
def _page(given: frozenset[str]) -> sa.Select[*tuple[Any, ...]]:
    """Newest first, as many as `many`; `given` names the parameters that narrow it."""
    page = (
        sa.select(_r.id)
        .join(run_heads)
        .order_by(_r.created_at.desc(), _r.id.desc())
        .limit(sa.bindparam("many", type_=sa.Integer()))
    )
    experiment = sa.select(experiments.c.id).where(experiments.c.name == sa.bindparam("in_experiment"))
    versions = (
        sa.select(pipeline_versions.c.id)
        .join(pipelines)
        .where(pipelines.c.name == sa.bindparam("of_pipeline"))
    )
    last = sa.bindparam("last_time", type_=SECONDS), sa.bindparam("last_id", type_=sa.Text())
    for name, condition in (
        ("in_namespace", _r.namespace == sa.bindparam("in_namespace")),
        ("in_state", _r.state == sa.bindparam("in_state")),
        ("stored", _r.storage_state == sa.bindparam("stored")),
        ("in_experiment", _r.experiment_id.in_(experiment)),
        ("of_pipeline", _r.version_id.in_(versions)),
        ("last_id", sa.tuple_(_r.created_at, _r.id) < sa.tuple_(*last)),
    ):
        if name in given:
            page = page.where(condition)
    return _SELECT.where(_r.id.in_(page)).order_by(_r.created_at.desc(), _r.id.desc())


def _run(row: Sequence[Any]) -> RunRecord:
    """Of a row of `_COLUMNS`, which stand in the order of the record's fields."""
    fields = list(row)
    fields[8], fields[10] = load_object(row[8]), load_object(row[10])
    fields[11], fields[13], fields[14] = State(row[11]), load_values(row[13]), StorageState(row[14])
    return RunRecord(*fields)

"""Executions: what ran or came from the cache, with the artifacts that went in and out."""

from __future__ import annotations

import time
from collections.abc import Collection, Iterator, Sequence
from typing import Any

import sqlalchemy as sa

from penstock.errors import NotFoundError
from penstock.model import Artifact, Values
from penstock.store import heads
from penstock.store.artifacts import insert_unknown
from penstock.store.columns import dump_values, load_values
from penstock.store.connection import Database
from penstock.store.ids import new_id
from penstock.store.records import Direction, ExecutionRecord, ExecutionState
from penstock.store.schema import edges, executions, runs

_x = executions.c
COLUMNS = (
    _x.id,
    _x.run_id,
    _x.path,
    _x.generation,
    _x.attempt_id,
    _x.namespace,
    _x.fingerprint,
    _x.cache_scope,
    _x.state,
    _x.cached_execution_id,
    _x.inputs,
    _x.outputs,
    _x.created_at,
)
_NAMES = tuple(column.name for column in COLUMNS)
_SELECT = sa.select(*COLUMNS).order_by(_x.created_at, _x.id)
_ONE = _SELECT.where(_x.id == sa.bindparam("execution"))
_OF_RUN = _SELECT.where(_x.run_id == sa.bindparam("run"))
_OF_TASK = _OF_RUN.where(_x.path == sa.bindparam("at"))
_NAMESPACE = sa.select(runs.c.namespace).where(runs.c.id == sa.bindparam("run"))
_INSERT = sa.insert(executions)
_INSERT_EDGES = sa.insert(edges)
_MADE = sa.select(edges.c.artifact_id).where(
    edges.c.artifact_id.in_(sa.bindparam("wanted", expanding=True)),
    edges.c.direction == Direction.OUTPUT.value,
)


class Executions:
    def __init__(self, database: Database) -> None:
        self._database = database

    def record(
        self,
        run_id: str,
        path: str,
        generation: int,
        state: ExecutionState,
        *,
        inputs: Values,
        outputs: Values,
        attempt_id: str | None = None,
        fingerprint: str = "",
        cache_scope: str = "",
        cached_execution: str | None = None,
    ) -> str:
        """Record an execution, those of its artifacts that are not known yet, and the edges between; its id.

        Only a COMPLETE execution with a fingerprint is found by the cache. Raises NotFoundError.
        """
        execution_id = new_id()
        with self._database.write() as connection:
            head = heads.locked(connection, run_id)
            if head is not None:
                namespace = head.namespace
            else:
                namespace = connection.execute(_NAMESPACE, {"run": run_id}).scalar_one_or_none()
            if namespace is None:
                raise NotFoundError(f"run {run_id} is not recorded")
            row: dict[str, Any] = {
                "id": execution_id,
                "run_id": run_id,
                "path": path,
                "generation": generation,
                "attempt_id": attempt_id,
                "namespace": namespace,
                "fingerprint": fingerprint,
                "cache_scope": cache_scope,
                "state": state.value,
                "cached_execution_id": cached_execution,
                "inputs": dump_values(inputs),
                "outputs": dump_values(outputs),
                "created_at": time.time(),
            }
            connection.execute(_INSERT, row)
            every = (*_joined(Direction.INPUT, inputs), *_joined(Direction.OUTPUT, outputs))
            if every:
                insert_unknown(connection, [artifact for *_, artifact in every], namespace)
                put_out = {artifact.id for direction, *_, artifact in every if direction is Direction.OUTPUT}
                reused = put_out if state is ExecutionState.CACHED else _made(connection, put_out)
                rows: list[dict[str, Any]] = [
                    {
                        "execution_id": execution_id,
                        "direction": (
                            Direction.REUSED
                            if direction is Direction.OUTPUT and artifact.id in reused
                            else direction
                        ).value,
                        "name": name,
                        "position": position,
                        "artifact_id": artifact.id,
                    }
                    for direction, name, position, artifact in every
                ]
                connection.execute(_INSERT_EDGES, rows)
        return execution_id

    def get(self, execution_id: str) -> ExecutionRecord:
        """Raises NotFoundError."""
        with self._database.read() as connection:
            row = connection.execute(_ONE, {"execution": execution_id}).one_or_none()
        if row is None:
            raise NotFoundError(f"execution {execution_id} is not recorded")
        return execution(row)

    def list(self, run_id: str, path: str | None = None) -> list[ExecutionRecord]:
        """The executions of a run, or of one of its tasks, oldest first."""
        with self._database.read() as connection:
            if path is None:
                return [execution(row) for row in connection.execute(_OF_RUN, {"run": run_id})]
            return [execution(row) for row in connection.execute(_OF_TASK, {"run": run_id, "at": path})]


def _joined(direction: Direction, values: Values) -> Iterator[tuple[Direction, str, int, Artifact]]:
    for name, many in values.artifacts.items():
        for position, artifact in enumerate(many):
            yield direction, name, position, artifact


def _made(connection: sa.Connection, artifact_ids: Collection[str]) -> set[str]:
    """Those that an execution has made already."""
    wanted = list(artifact_ids)
    return {
        found
        for start in range(0, len(wanted), 500)
        for found in connection.execute(_MADE, {"wanted": wanted[start : start + 500]}).scalars()
    }


def execution(row: Sequence[Any]) -> ExecutionRecord:
    """The record of a row of `COLUMNS`."""
    found = dict(zip(_NAMES, row, strict=True))
    found["state"] = ExecutionState(found["state"])
    found["inputs"] = load_values(found["inputs"])
    found["outputs"] = load_values(found["outputs"])
    return ExecutionRecord(**found)

"""Lineage: what an artifact came from, and what it went into."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import sqlalchemy as sa

from penstock.errors import NotFoundError
from penstock.store.artifacts import Artifacts
from penstock.store.connection import Database
from penstock.store.executions import COLUMNS, execution
from penstock.store.records import Direction, Edge, ExecutionState, Lineage
from penstock.store.schema import edges, executions

_x = executions.c
_EXECUTIONS = sa.select(*COLUMNS).where(_x.id.in_(sa.bindparam("wanted", expanding=True)))
_EDGES = (
    sa.select(edges.c.execution_id, edges.c.artifact_id, edges.c.direction, edges.c.name, edges.c.position)
    .where(edges.c.execution_id.in_(sa.bindparam("wanted", expanding=True)))
    .order_by(edges.c.direction, edges.c.name, edges.c.position)
)


def _walk(against: Direction, along: Direction) -> sa.Select[Any, Any]:
    """Executions reached from an artifact, with their distance: entered by `against` edges, left by `along`.

    What took its outputs from the cache did not make them: upstream leads past it to the execution that did.
    """
    first = sa.select(edges.c.execution_id, sa.literal(1, sa.BigInteger).label("distance")).where(
        edges.c.artifact_id == sa.bindparam("artifact"), edges.c.direction == against.value
    )
    if against is Direction.OUTPUT:
        first = first.join(executions, _x.id == edges.c.execution_id).where(
            _x.state != ExecutionState.CACHED.value
        )
    walk = first.cte("walk", recursive=True)
    out, into, reached = edges.alias("out"), edges.alias("into"), executions.alias("reached")
    step = (
        sa.select(into.c.execution_id, walk.c.distance + 1)
        .select_from(
            walk.join(out, sa.and_(out.c.execution_id == walk.c.execution_id, out.c.direction == along.value))
            .join(into, sa.and_(into.c.artifact_id == out.c.artifact_id, into.c.direction == against.value))
            .join(reached, reached.c.id == into.c.execution_id)
        )
        .where(walk.c.distance < sa.bindparam("depth"))
    )
    if against is Direction.OUTPUT:
        step = step.where(reached.c.state != ExecutionState.CACHED.value)
    walk = walk.union(step)
    nearest = sa.func.min(walk.c.distance)
    return (
        sa.select(walk.c.execution_id, nearest)
        .group_by(walk.c.execution_id)
        .order_by(nearest, walk.c.execution_id)
    )


_UPSTREAM = _walk(Direction.OUTPUT, Direction.INPUT)
_DOWNSTREAM = _walk(Direction.INPUT, Direction.OUTPUT)


class LineageGraph:
    def __init__(self, database: Database, artifacts: Artifacts) -> None:
        self._database = database
        self._artifacts = artifacts

    def upstream(self, artifact_id: str, depth: int = 50) -> Lineage:
        """What made the artifact, and of what, through at most `depth` executions. Raises NotFoundError."""
        return self._follow(_UPSTREAM, artifact_id, depth)

    def downstream(self, artifact_id: str, depth: int = 50) -> Lineage:
        """What used the artifact, and what came of that. Raises NotFoundError."""
        return self._follow(_DOWNSTREAM, artifact_id, depth)

    def _follow(self, walk: sa.Select[Any, Any], artifact_id: str, depth: int) -> Lineage:
        with self._database.read() as connection:
            reached = [
                found for found, _ in connection.execute(walk, {"artifact": artifact_id, "depth": depth})
            ]
            rows: dict[str, Sequence[Any]] = {}
            joined: dict[str, list[Edge]] = {}
            for start in range(0, len(reached), 500):
                wanted = {"wanted": reached[start : start + 500]}
                rows.update((row[0], row) for row in connection.execute(_EXECUTIONS, wanted))
                for execution_id, artifact, direction, name, position in connection.execute(_EDGES, wanted):
                    edge = Edge(execution_id, artifact, Direction(direction), name, position)
                    joined.setdefault(execution_id, []).append(edge)
            every = tuple(edge for one in reached for edge in joined.get(one, ()))
            named = dict.fromkeys([artifact_id, *(edge.artifact_id for edge in every)])
            artifacts = self._artifacts.many(list(named))
        if not artifacts or artifacts[0].artifact.id != artifact_id:
            raise NotFoundError(f"artifact {artifact_id} is not recorded")
        return Lineage(tuple(artifacts), tuple(execution(rows[one]) for one in reached), every)

"""Lineage: what an artifact came from, what it went into, and what of that it would leave out of date."""

from __future__ import annotations

import re
from collections.abc import Iterator, Sequence
from itertools import islice
from typing import Any

import sqlalchemy as sa

from penstock.errors import NotFoundError
from penstock.store.artifacts import Artifacts
from penstock.store.connection import Database
from penstock.store.executions import COLUMNS, execution
from penstock.store.records import Direction, Edge, ExecutionState, Lineage
from penstock.store.runs import Runs
from penstock.store.schema import artifacts, edges, executions, pipeline_versions, run_heads, runs

DEPTH = 50
LIMIT = 1000
_ALL = 1 << 62

_x = executions.c
_e = edges.c
_v = pipeline_versions.c
_WANTED: sa.BindParameter[Any] = sa.bindparam("wanted", expanding=True)
_PUT_OUT = (Direction.OUTPUT.value, Direction.REUSED.value)
_EXECUTIONS = sa.select(*COLUMNS).where(_x.id.in_(_WANTED))
_EDGES = (
    sa.select(_e.execution_id, _e.artifact_id, _e.direction, _e.name, _e.position)
    .where(_e.execution_id.in_(_WANTED))
    .order_by(_e.direction, _e.name, _e.position)
)
_INPUTS = sa.select(_e.artifact_id).where(_e.execution_id.in_(_WANTED), _e.direction == Direction.INPUT.value)
_OUTPUTS = sa.select(_e.artifact_id).where(_e.execution_id.in_(_WANTED), _e.direction.in_(_PUT_OUT))


def _at_artifacts(direction: Direction, *columns: sa.Column[Any]) -> sa.Select[Any]:
    """Executions, but not those of runs that are being removed."""
    return (
        sa.select(*columns)
        .join(executions, _x.id == _e.execution_id)
        .join(run_heads, run_heads.c.run_id == _x.run_id)
        .where(_e.artifact_id.in_(_WANTED), _e.direction == direction.value)
    )


_READERS = (
    _at_artifacts(Direction.INPUT, _e.execution_id)
    .distinct()
    .order_by(_e.execution_id.desc())
    .limit(sa.bindparam("many"))
)
_MAKERS = _at_artifacts(Direction.OUTPUT, _e.artifact_id, _e.execution_id)
_FIRST_USER = _at_artifacts(Direction.REUSED, _e.execution_id).order_by(_e.execution_id).limit(1)
_other = artifacts.alias("other")
_SAME = (
    sa.select(artifacts.c.id, _other.c.id)
    .join(_other, sa.and_(_other.c.uri == artifacts.c.uri, _other.c.namespace == artifacts.c.namespace))
    .where(
        artifacts.c.id.in_(_WANTED),
        artifacts.c.uri != "",
        _other.c.id != artifacts.c.id,
        sa.or_(
            _other.c.sha256 == artifacts.c.sha256, _other.c.sha256.is_(None), artifacts.c.sha256.is_(None)
        ),
    )
    .order_by(_other.c.created_at, _other.c.id)
)
_EARLIER = _SAME.where(
    sa.tuple_(_other.c.created_at, _other.c.id) < sa.tuple_(artifacts.c.created_at, artifacts.c.id)
)
_KINDS = (
    sa.select(_x.id, _x.run_id, _x.path, _x.created_at, runs.c.created_at, _v.pipeline_id)
    .join(runs, runs.c.id == _x.run_id)
    .join(pipeline_versions, _v.id == runs.c.version_id)
    .where(_x.id.in_(_WANTED), _x.state != ExecutionState.FAILED.value)
)
_LATER = (
    sa.select(_x.id)
    .join(runs, runs.c.id == _x.run_id)
    .join(run_heads, run_heads.c.run_id == runs.c.id)
    .join(pipeline_versions, _v.id == runs.c.version_id)
    .where(
        _v.pipeline_id == sa.bindparam("pipeline"),
        sa.tuple_(runs.c.created_at, runs.c.id) > sa.tuple_(sa.bindparam("at"), sa.bindparam("run")),
        _x.path.in_(sa.bindparam("paths", expanding=True)),
        _x.state != ExecutionState.FAILED.value,
    )
    .limit(1)
)
_INDEX = re.compile(r"\[\d+\]")


class LineageGraph:
    """Follows artifacts from execution to execution.

    What took its outputs from the cache did not make them: upstream leads past it, to the execution that did.
    Downstream it counts like everything else that read the artifact. Records of one place are one artifact
    here unless their contents differ, as when several runs import a file, or one run what another made.
    """

    def __init__(self, database: Database, artifacts: Artifacts, runs: Runs) -> None:
        self._database = database
        self._artifacts = artifacts
        self._runs = runs

    def upstream(
        self, artifact_id: str, depth: int = DEPTH, *, limit: int = LIMIT, offset: int = 0
    ) -> Lineage:
        """What made the artifact, and of what, through at most `depth` executions. Raises NotFoundError.

        A page of at most `limit` executions; `offset` is what the page before it calls `following`.
        """
        return self._follow(artifact_id, depth, limit, offset, upstream=True)

    def downstream(
        self, artifact_id: str, depth: int = DEPTH, *, limit: int = LIMIT, offset: int = 0
    ) -> Lineage:
        """What used the artifact, and what came of that; otherwise as `upstream`."""
        return self._follow(artifact_id, depth, limit, offset, upstream=False)

    def stale(self, artifact_id: str, depth: int = DEPTH) -> Lineage:
        """What would be out of date if the artifact changed: of everything downstream, what is the newest of
        its kind. Through at most `depth` executions. Raises NotFoundError.

        Two executions are of a kind if they did the same task, in any iteration, of the same pipeline. One
        that a later run has done anew is nobody's latest word, and out of date already or not at all.
        """
        with self._database.read() as connection:
            walk = _Walk(connection, upstream=False)
            found = list(walk.executions(artifact_id, depth, None))
            kept = _newest(connection, [execution_id for execution_id, _ in found])
            return self._describe(walk, artifact_id, [one for one in found if one[0] in kept], None)

    def _follow(self, artifact_id: str, depth: int, limit: int, offset: int, *, upstream: bool) -> Lineage:
        with self._database.read() as connection:
            walk = _Walk(connection, upstream=upstream)
            end = offset + limit
            found = list(islice(walk.executions(artifact_id, depth, end + 1), offset, end + 1))
            following = end if len(found) > limit else None
            return self._describe(walk, artifact_id, found[:limit], following)

    def _describe(
        self, walk: _Walk, artifact_id: str, found: Sequence[tuple[str, int]], following: int | None
    ) -> Lineage:
        reached = [execution_id for execution_id, _ in found]
        rows = {row[0]: row for row in walk.rows(_EXECUTIONS, reached)}
        joined: dict[str, list[Edge]] = {}
        for execution_id, artifact, direction, name, position in walk.rows(_EDGES, reached):
            edge = Edge(execution_id, walk.known_as(artifact), Direction(direction), name, position)
            joined.setdefault(execution_id, []).append(edge)
        every = tuple(edge for one in reached for edge in joined.get(one, ()))
        named = dict.fromkeys([artifact_id, *(edge.artifact_id for edge in every)])
        artifacts = self._artifacts.many(list(named))
        if not artifacts or artifacts[0].artifact.id != artifact_id:
            raise NotFoundError(f"artifact {artifact_id} is not recorded")
        records = tuple(execution(rows[one]) for one in reached)
        return Lineage(
            tuple(artifacts),
            records,
            every,
            dict(found),
            self._runs.many(list(dict.fromkeys(record.run_id for record in records))),
            {one: other for one, other in walk.same.items() if other in named},
            following,
        )


class _Walk:
    """Breadth first. `same` has, for each further record of a content, the one that stands for them."""

    def __init__(self, connection: sa.Connection, *, upstream: bool) -> None:
        self._connection = connection
        self._upstream = upstream
        self.same: dict[str, str] = {}

    def executions(self, artifact_id: str, depth: int, enough: int | None) -> Iterator[tuple[str, int]]:
        """Executions with their distance, the nearest first; about as many as are `enough`, or all."""
        found: dict[str, int] = {}
        known = {artifact_id}
        frontier = [artifact_id]
        for distance in range(1, depth + 1):
            if not frontier or (enough is not None and len(found) >= enough):
                return
            frontier += self._others(frontier, known)
            reached = self._makers(frontier) if self._upstream else self._readers(frontier, found, enough)
            level = sorted(reached - found.keys(), reverse=True)
            found.update(dict.fromkeys(level, distance))
            yield from ((execution_id, distance) for execution_id in level)
            along = self.rows(_INPUTS if self._upstream else _OUTPUTS, level)
            frontier = list(dict.fromkeys(one for (one,) in along if one not in known))
            known.update(frontier)

    def known_as(self, artifact_id: str) -> str:
        return self.same.get(artifact_id, artifact_id)

    def rows(self, statement: sa.Executable, wanted: Sequence[str], **more: int) -> Iterator[Sequence[Any]]:
        for start in range(0, len(wanted), 500):
            yield from self._connection.execute(statement, {"wanted": wanted[start : start + 500], **more})

    def _others(self, frontier: Sequence[str], known: set[str]) -> list[str]:
        """Further records of the contents. Upstream only the first counts: who came later found it there."""
        found: dict[str, None] = {}
        led: set[str] = set()
        for one, other in list(self.rows(_EARLIER if self._upstream else _SAME, frontier)):
            if other in known or (self._upstream and one in led):
                continue
            led.add(one)
            known.add(other)
            self.same[other] = self.known_as(one)
            found[other] = None
        return list(found)

    def _readers(self, frontier: Sequence[str], found: dict[str, int], enough: int | None) -> set[str]:
        many = _ALL if enough is None else enough + len(found)
        return {one for (one,) in self.rows(_READERS, frontier, many=many)}

    def _makers(self, frontier: Sequence[str]) -> set[str]:
        """Who made the artifacts; where that run was removed, the first that made use of one."""
        made: set[str] = set()
        reached: set[str] = set()
        for artifact_id, execution_id in self.rows(_MAKERS, frontier):
            made.add(artifact_id)
            reached.add(execution_id)
        for artifact_id in frontier:
            if artifact_id not in made:
                reached.update(one for (one,) in self.rows(_FIRST_USER, [artifact_id]))
        return reached


def _newest(connection: sa.Connection, execution_ids: Sequence[str]) -> set[str]:
    """Those of the executions that no later run of their pipeline, and no later generation, has done anew."""
    kinds: dict[tuple[str, str], dict[tuple[float, str], dict[str, tuple[float, str]]]] = {}
    walk = _Walk(connection, upstream=False)
    for execution_id, run_id, path, at, created_at, pipeline_id in walk.rows(_KINDS, execution_ids):
        kind = kinds.setdefault((pipeline_id, _INDEX.sub("[0]", path)), {})
        done = kind.setdefault((created_at, run_id), {})
        done[path] = max(done.get(path, (0.0, "")), (at, execution_id))
    found: set[str] = set()
    for (pipeline_id, path), by_run in kinds.items():
        (created_at, run_id), done = max(by_run.items())
        wanted = {
            "pipeline": pipeline_id,
            "at": created_at,
            "run": run_id,
            "paths": [path, *list(done)[:100]],
        }
        if connection.execute(_LATER, wanted).one_or_none() is None:
            found.update(execution_id for _, execution_id in done.values())
    return found

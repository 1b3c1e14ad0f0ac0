"""Lineage: what an artifact came from, what it went into, and what of that it would leave out of date."""

from __future__ import annotations

import re
from collections.abc import Iterable, Iterator, Mapping, Sequence
from itertools import islice
from typing import Any

import sqlalchemy as sa

from penstock.errors import NotFoundError
from penstock.store.artifacts import LIVING, Artifacts
from penstock.store.connection import Database
from penstock.store.executions import COLUMNS, execution
from penstock.store.records import Direction, Edge, ExecutionState, Lineage
from penstock.store.runs import Runs
from penstock.store.schema import artifacts, edges, executions, pipeline_versions, removals, run_heads, runs

DEPTH = 50
LIMIT = 1000
_PAGE = 500

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


_READERS = (
    sa.select(_e.execution_id)
    .where(_e.artifact_id.in_(_WANTED), _e.direction == Direction.INPUT.value)
    .distinct()
    .order_by(_e.execution_id.desc())
    .limit(sa.bindparam("many"))
    .offset(sa.bindparam("past"))
)
_MAKERS = sa.select(_e.artifact_id, _e.execution_id).where(
    _e.artifact_id.in_(_WANTED), _e.direction == Direction.OUTPUT.value
)
_USERS = (
    sa.select(_e.execution_id)
    .where(_e.artifact_id.in_(_WANTED), _e.direction == Direction.REUSED.value)
    .order_by(_e.execution_id)
    .limit(_PAGE)
)
_other = artifacts.alias("other")
_AT_PLACE = (
    sa.select(
        *(artifacts.c.id, artifacts.c.namespace, artifacts.c.sha256, artifacts.c.created_at),
        *(_other.c.id, _other.c.namespace, _other.c.sha256, _other.c.created_at),
    )
    .join(_other, _other.c.uri == artifacts.c.uri)
    .where(artifacts.c.id.in_(_WANTED), artifacts.c.uri != "")
    .order_by(_other.c.created_at, _other.c.id)
)
_REMOVING = sa.select(removals.c.run_id).where(removals.c.purged_at.is_(None)).limit(1)
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
        self._removing = connection.execute(_REMOVING).one_or_none() is not None
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
            if self._upstream:
                reached = self._makers(frontier)
            else:
                reached = self._readers(frontier, found, None if enough is None else enough - len(found))
            level = sorted(reached - found.keys(), reverse=True)
            found.update(dict.fromkeys(level, distance))
            yield from ((execution_id, distance) for execution_id in level)
            along = self.rows(_INPUTS if self._upstream else _OUTPUTS, level)
            frontier = list(dict.fromkeys(one for (one,) in along if one not in known))
            known.update(frontier)

    def known_as(self, artifact_id: str) -> str:
        return self.same.get(artifact_id, artifact_id)

    def rows(self, statement: sa.Executable, wanted: Sequence[str]) -> Iterator[Sequence[Any]]:
        for start in range(0, len(wanted), _PAGE):
            yield from self._connection.execute(statement, {"wanted": wanted[start : start + _PAGE]})

    def _others(self, frontier: Sequence[str], known: set[str]) -> list[str]:
        """Further records of the contents. Upstream only the first counts: who came later found it there."""
        found: list[str] = []
        led: set[str] = set()
        for row in self.rows(_AT_PLACE, frontier):
            one, owner, sha256, at = row[:4]
            other, other_owner, other_sha256, other_at = row[4:]
            same = owner == other_owner and (sha256 == other_sha256 or None in (sha256, other_sha256))
            if (
                not same
                or other in known
                or (self._upstream and (one in led or (other_at, other) > (at, one)))
            ):
                continue
            led.add(one)
            known.add(other)
            self.same[other] = self.known_as(one)
            found.append(other)
        return found

    def _readers(self, frontier: Sequence[str], found: Mapping[str, int], enough: int | None) -> set[str]:
        """The newest that are not found yet; about as many as are `enough`, or all."""
        reached: set[str] = set()
        for start in range(0, len(frontier), _PAGE):
            past, fresh, many = 0, 0, max(_PAGE, enough or 0)
            wanted = {"wanted": frontier[start : start + _PAGE], "many": many}
            while enough is None or fresh < enough:
                page = list(self._connection.execute(_READERS, {**wanted, "past": past}).scalars())
                living = self._living(one for one in page if one not in found)
                fresh += len(living)
                reached |= living
                past += len(page)
                if len(page) < many:
                    break
        return reached

    def _makers(self, frontier: Sequence[str]) -> set[str]:
        """Who made the artifacts; where that run was removed, the first that made use of one."""
        makers = {row[0]: row[1] for row in self.rows(_MAKERS, frontier)}
        reached = self._living(makers.values())
        for artifact_id in frontier:
            if makers.get(artifact_id) not in reached:
                users = self._living(one for (one,) in self.rows(_USERS, [artifact_id]))
                reached.update(sorted(users)[:1])
        return reached

    def _living(self, execution_ids: Iterable[str]) -> set[str]:
        """Those whose runs are not being removed."""
        found = set(execution_ids)
        return {row[0] for row in self.rows(LIVING, sorted(found))} if self._removing else found


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

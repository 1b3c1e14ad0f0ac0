"""Removing runs, in an order that lets whoever comes next finish what was cut short.

`mark` takes a run's head away and writes a row to `removals`, in one transaction. From then on nothing finds
the run: no list, no lineage, no cache lookup, and no engine. `purge` takes its records apart, a page a
transaction. What it made and its logs are deleted next, by the caller; only then does `finish` drop the row.
"""

from __future__ import annotations

import time
from collections.abc import Collection, Iterator, Mapping, Sequence
from typing import Any

import sqlalchemy as sa

from penstock.model import State
from penstock.store.columns import plain
from penstock.store.connection import Database
from penstock.store.dialect import database_clock, insert_if_absent
from penstock.store.outbox import WAITING_RUNS
from penstock.store.records import Direction, Footprint, Purged, Removal, Rule, Verdicts
from penstock.store.retention import choose
from penstock.store.schema import (
    artifacts,
    attempts,
    edges,
    executions,
    outbox,
    pins,
    pipeline_versions,
    pipelines,
    removals,
    run_heads,
    runs,
    task_history,
    tasks,
)

PAGE = 1000
"""Task records, and as many of whatever hangs on them, that one transaction removes."""

_r = runs.c
_h = run_heads.c
_x = executions.c
_e = edges.c
_m = removals.c
_WANTED: sa.BindParameter[Any] = sa.bindparam("wanted", expanding=True)
_FREE = (
    sa.select(_r.id, _r.state, _h.owner, sa.and_(_h.owner.is_not(None), _h.expires_at >= database_clock()))
    .join(run_heads, _h.run_id == _r.id)
    .where(_r.id.in_(_WANTED))
    .order_by(_r.id)
)
_FREE_AND_LOCKED = _FREE.with_for_update(of=run_heads, skip_locked=True)
_PINNED = (
    sa.select(_x.run_id, pins.c.kept_by)
    .select_from(executions)
    .join(edges, sa.and_(_e.execution_id == _x.id, _e.direction == Direction.OUTPUT.value))
    .join(pins, pins.c.artifact_id == _e.artifact_id)
    .where(_x.run_id.in_(_WANTED))
)
_DONE = sa.select(_x.id, _x.run_id).where(_x.run_id.in_(_WANTED))
_USERS = sa.select(_x.cached_execution_id, _x.run_id).where(_x.cached_execution_id.in_(_WANTED))
_LIVING = sa.select(_h.run_id).where(_h.run_id.in_(_WANTED))
_PLACES = (
    sa.select(_r.id, _r.pipeline_root, pipelines.c.name)
    .join(pipeline_versions, pipeline_versions.c.id == _r.version_id)
    .join(pipelines, pipelines.c.id == pipeline_versions.c.pipeline_id)
    .where(_r.id.in_(_WANTED))
)
_root = sa.func.rtrim(_r.pipeline_root, "/").concat("/")
_MADE = (
    sa.select(_x.run_id, sa.func.count(), sa.func.coalesce(sa.func.sum(artifacts.c.size), 0))
    .join(edges, sa.and_(_e.execution_id == _x.id, _e.direction == Direction.OUTPUT.value))
    .join(artifacts, artifacts.c.id == _e.artifact_id)
    .join(runs, _r.id == _x.run_id)
    .where(
        _x.run_id.in_(_WANTED),
        sa.func.substr(artifacts.c.uri, 1, sa.func.length(_root)) == _root,
        artifacts.c.uri.like(sa.literal("%/").concat(_r.id).concat("/%")),
    )
    .group_by(_x.run_id)
)
_COUNTS = tuple(
    sa.select(table.c.run_id, sa.func.count()).where(table.c.run_id.in_(_WANTED)).group_by(table.c.run_id)
    for table in (tasks, executions)
)
_BEHEAD = sa.delete(run_heads).where(_h.run_id.in_(_WANTED))
_MARKED = (
    sa.select(_m.run_id, _m.tasks)
    .where(_m.purged_at.is_(None))
    .order_by(_m.run_id)
    .limit(sa.bindparam("many"))
    .with_for_update(skip_locked=True)
)
_PURGED = sa.update(removals).where(_m.run_id.in_(_WANTED)).values(purged_at=sa.bindparam("now"))
_EXECUTIONS = sa.select(_x.id).where(_x.run_id.in_(_WANTED))
_MENTIONED = sa.select(_e.artifact_id).where(_e.execution_id.in_(_WANTED))
_ORPHANED = sa.and_(
    artifacts.c.id.in_(_WANTED),
    ~sa.exists().where(_e.artifact_id == artifacts.c.id).correlate(artifacts),
    ~sa.exists().where(pins.c.artifact_id == artifacts.c.id).correlate(artifacts),
)
_ORPHANS = sa.select(artifacts.c.id).where(_ORPHANED).order_by(artifacts.c.id).with_for_update(of=artifacts)
_DROP_ORPHANS = sa.delete(artifacts).where(_ORPHANED)
_DROP_EXECUTIONS = sa.delete(executions).where(_x.id.in_(_WANTED))
_DROP_MESSAGES = sa.delete(outbox).where(outbox.c.run_id.in_(_WANTED))
_DROP_RUNS = sa.delete(runs).where(_r.id.in_(_WANTED))
_SOME_EXECUTIONS = (
    sa.select(_x.id).where(_x.run_id == sa.bindparam("run")).order_by(_x.path).limit(sa.bindparam("many"))
)


def _drop_some(table: sa.Table, order: sa.Column[Any]) -> sa.Delete:
    """Delete so many rows of a run, along an index."""
    key = list(table.primary_key.columns)
    some = sa.select(*key).where(table.c.run_id == sa.bindparam("run")).order_by(order)
    return sa.delete(table).where(
        (sa.tuple_(*key) if len(key) > 1 else key[0]).in_(some.limit(sa.bindparam("many")))
    )


_DROP_ROWS = (
    (_drop_some(tasks, tasks.c.path), 1),
    (_drop_some(attempts, attempts.c.path), 1),
    (_drop_some(task_history, task_history.c.revision), 4),
)
"""With how many rows there are for a task, about."""

_CONTENTS = (
    sa.select(_m.run_id, _m.pipeline_root, _m.pipeline, _m.size, _m.error, _m.marked_at)
    .where(_m.purged_at.is_not(None), _m.run_id > sa.bindparam("last"))
    .order_by(_m.run_id)
    .limit(sa.bindparam("many"))
)
_WAITING = sa.select(sa.func.count(), sa.func.max(_m.error)).select_from(removals)
_AT = sa.select(artifacts.c.uri).where(
    sa.or_(
        artifacts.c.uri == sa.bindparam("place"),
        sa.and_(artifacts.c.uri > sa.bindparam("first"), artifacts.c.uri < sa.bindparam("beyond")),
    )
)
_FAIL = sa.update(removals).where(_m.run_id == sa.bindparam("run")).values(error=sa.bindparam("sentence"))
_FINISH = sa.delete(removals).where(_m.run_id.in_(_WANTED))


class Removals:
    """Any number of processes may remove at once."""

    def __init__(self, database: Database) -> None:
        self._database = database

    def choose(self, rule: Rule) -> list[str]:
        """The ended runs that the rule is about, newest first."""
        with self._database.read() as connection:
            return choose(connection, rule)

    def weigh(self, run_ids: Sequence[str]) -> Verdicts:
        """Which of the runs nothing speaks against removing, if all of those are removed.

        A run stays that has not ended, that an engine holds, of which a message is still to be delivered,
        that made a pinned artifact, or whose outputs a run that stays has from the cache.
        """
        with self._database.read() as connection:
            return _weigh(connection, run_ids, _FREE)

    def mark(self, run_ids: Sequence[str], sizes: Mapping[str, int] | None = None) -> Verdicts:
        """Begin to remove those of the runs that `weigh` would find removable now.

        `sizes`: the recorded bytes that they made, for who has them already.
        """
        with self._database.write() as connection:
            found = _weigh(connection, run_ids, _FREE_AND_LOCKED)
            places = {row[0]: row[1:] for row in _rows(connection, _PLACES, found.removable)}
            if sizes is None:
                sizes = {row[0]: int(row[2]) for row in _rows(connection, _MADE, found.removable)}
            counts: dict[str, int] = {}
            for statement in _COUNTS:
                for run_id, count in _rows(connection, statement, found.removable):
                    counts[run_id] = max(counts.get(run_id, 0), count)
            now = time.time()
            marked = [
                {
                    "run_id": run_id,
                    "pipeline_root": places[run_id][0],
                    "pipeline": places[run_id][1],
                    "tasks": counts.get(run_id, 0),
                    "size": sizes.get(run_id, 0),
                    "error": "",
                    "marked_at": now,
                }
                for run_id in found.removable
            ]
            if marked:
                connection.execute(insert_if_absent(connection, removals), marked)
                _execute(connection, _BEHEAD, found.removable)
            return found

    def purge(self, limit: int = PAGE) -> Purged | None:
        """Take a page of records of marked runs away: several runs whole, or a part of one that has more.

        None when there is none left to take.
        """
        with self._database.write() as connection:
            marked: list[str] = []
            total = 0
            for run_id, count in connection.execute(_MARKED, {"many": min(limit, 500)}):
                if marked and total + count > limit:
                    break
                marked.append(run_id)
                total += count
            if not marked:
                return None
            if total > limit:
                return _purge_some(connection, marked[0], limit)
            some = [one for (one,) in _rows(connection, _EXECUTIONS, marked)]
            mentioned = sorted({one for (one,) in _rows(connection, _MENTIONED, some)})
            return Purged(total, _drop_runs(connection, marked, mentioned))

    def contents(self, limit: int = PAGE, after: str = "") -> list[Removal]:
        """Removed runs whose content is still to be deleted; `after` is the run of the last one before."""
        with self._database.read() as connection:
            rows = connection.execute(_CONTENTS, {"last": after, "many": limit})
            return [Removal(*row) for row in rows]

    def waiting(self) -> tuple[int, str]:
        """How many removals are begun and not finished, and an error that kept one from it."""
        with self._database.read() as connection:
            count, error = connection.execute(_WAITING).one()
            return count, error or ""

    def referred(self, places: Collection[str]) -> list[str]:
        """The URIs of recorded artifacts at and below the places: other runs imported them."""
        with self._database.read() as connection:
            return [
                uri
                for place in places
                for (uri,) in connection.execute(
                    _AT, {"place": place, "first": f"{place}/", "beyond": f"{place}0"}
                )
            ]

    def fail(self, run_id: str, error: str) -> None:
        """Say why the content could not be deleted; it is tried again another time."""
        with self._database.write() as connection:
            connection.execute(_FAIL, {"run": run_id, "sentence": plain(error)})

    def finish(self, run_ids: Sequence[str]) -> None:
        """The content is gone: nothing is left of the runs."""
        with self._database.write() as connection:
            _execute(connection, _FINISH, run_ids)

    def footprints(self, run_ids: Sequence[str]) -> dict[str, Footprint]:
        """What would go with each run."""
        with self._database.read() as connection:
            counts = {row[0]: int(row[1]) for row in _rows(connection, _COUNTS[0], run_ids)}
            made = {run_id: (many, int(size)) for run_id, many, size in _rows(connection, _MADE, run_ids)}
        return {one: Footprint(one, counts.get(one, 0), *made.get(one, (0, 0))) for one in run_ids}


def _purge_some(connection: sa.Connection, run_id: str, limit: int) -> Purged:
    """A page of a run; the run itself with the last one."""
    wanted = {"run": run_id, "many": limit}
    some = list(connection.execute(_SOME_EXECUTIONS, wanted).scalars())
    mentioned = sorted({one for (one,) in _rows(connection, _MENTIONED, some)})
    _execute(connection, _DROP_EXECUTIONS, some)
    counts = [
        (connection.execute(statement, {**wanted, "many": limit * share}).rowcount, limit * share)
        for statement, share in _DROP_ROWS
    ]
    if len(some) < limit and all(count < most for count, most in counts):
        return Purged(counts[0][0], _drop_runs(connection, [run_id], mentioned))
    return Purged(counts[0][0], _drop_orphans(connection, mentioned))


def _drop_runs(connection: sa.Connection, run_ids: Sequence[str], mentioned: Sequence[str]) -> int:
    """Delete the runs with all that is left of them; the number of artifacts that went along."""
    wanted = {"wanted": run_ids}
    connection.execute(_DROP_MESSAGES, wanted)
    connection.execute(_DROP_RUNS, wanted)
    connection.execute(_PURGED, {**wanted, "now": time.time()})
    return _drop_orphans(connection, mentioned)


def _drop_orphans(connection: sa.Connection, artifact_ids: Sequence[str]) -> int:
    """Delete those that nothing mentions any more.

    They are locked first, in one order, and then looked at again: somebody may just have mentioned one.
    """
    orphans = [one for (one,) in _rows(connection, _ORPHANS, artifact_ids)]
    return _execute(connection, _DROP_ORPHANS, orphans)


def _weigh(connection: sa.Connection, run_ids: Sequence[str], free: sa.Executable) -> Verdicts:
    kept: dict[str, str] = dict.fromkeys(run_ids, "it is in use, or gone")
    for run_id, state, owner, held in _rows(connection, free, run_ids):
        if not State(state).ended:
            kept[run_id] = f"it is {state}"
        elif held:
            kept[run_id] = f"{owner} drives it"
        else:
            del kept[run_id]
    left = [run_id for run_id in run_ids if run_id not in kept]
    for run_id, by in _rows(connection, _PINNED, left):
        kept[run_id] = f"{by} refers to what it made"
    for run_id, topic in _rows(connection, WAITING_RUNS, left):
        kept[run_id] = f"its records have not all arrived at {topic} yet"
    _keep_origins(kept, _users(connection, left), set(left))
    return Verdicts(tuple(run_id for run_id in run_ids if run_id not in kept), kept)


def _users(connection: sa.Connection, run_ids: Sequence[str]) -> dict[str, set[str]]:
    """The runs that have outputs from the cache, with those of the given runs that they have them from.

    In steps, each by a list of keys: in one query PostgreSQL may read all that ever came from the cache.
    """
    run_of: dict[str, str] = {row[0]: row[1] for row in _rows(connection, _DONE, run_ids)}
    origins: dict[str, set[str]] = {}
    for execution_id, user in _rows(connection, _USERS, sorted(run_of)):
        origins.setdefault(user, set()).add(run_of[execution_id])
    living = {row[0] for row in _rows(connection, _LIVING, sorted(origins))}
    return {user: found for user, found in origins.items() if user in living}


def _keep_origins(kept: dict[str, str], origins: Mapping[str, set[str]], candidates: set[str]) -> None:
    """Add to `kept` the candidates that a run which stays has outputs from."""
    todo = [user for user in origins if user in kept or user not in candidates]
    while todo:
        user = todo.pop()
        for origin in sorted(origins.get(user, ())):
            if origin not in kept and origin != user:
                kept[origin] = f"run {user} has outputs of it from the cache"
                todo.append(origin)


def _chunks(wanted: Sequence[str]) -> Iterator[Sequence[str]]:
    for start in range(0, len(wanted), 500):
        yield wanted[start : start + 500]


def _rows(
    connection: sa.Connection, statement: sa.Executable, wanted: Sequence[str]
) -> Iterator[Sequence[Any]]:
    for some in _chunks(wanted):
        yield from connection.execute(statement, {"wanted": some})


def _execute(connection: sa.Connection, statement: sa.Executable, wanted: Sequence[str]) -> int:
    return sum(connection.execute(statement, {"wanted": some}).rowcount for some in _chunks(wanted))

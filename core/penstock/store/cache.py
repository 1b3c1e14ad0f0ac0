"""The cache: outputs of earlier executions with the same fingerprint."""

from __future__ import annotations

from collections.abc import Iterator

import sqlalchemy as sa

from penstock.store.columns import load_values
from penstock.store.connection import Database
from penstock.store.namespaces import DEFAULT
from penstock.store.records import ArtifactState, CachedOutputs, Direction, ExecutionState
from penstock.store.schema import artifacts, edges, executions, run_heads

_x = executions.c
_PAGE = 8
_FIND = (
    sa.select(_x.id, _x.run_id, _x.path, _x.outputs, _x.created_at)
    .join(run_heads, run_heads.c.run_id == _x.run_id)
    .where(
        _x.fingerprint == sa.bindparam("wanted"),
        _x.cache_scope == sa.bindparam("scope"),
        _x.namespace == sa.bindparam("owner"),
        _x.state == ExecutionState.COMPLETE.value,
        _x.run_id != sa.bindparam("besides"),
        ~sa.exists()
        .where(
            edges.c.execution_id == _x.id,
            edges.c.direction == Direction.OUTPUT.value,
            artifacts.c.id == edges.c.artifact_id,
            artifacts.c.state == ArtifactState.DELETED.value,
        )
        .correlate(executions),
    )
    .order_by(_x.created_at.desc(), _x.id.desc())
    .limit(_PAGE)
)
_FIND_MORE = _FIND.where(
    sa.or_(
        _x.created_at < sa.bindparam("last_time"),
        sa.and_(_x.created_at == sa.bindparam("last_time"), _x.id < sa.bindparam("last_id")),
    )
)
_HOLD = (
    sa.select(run_heads.c.run_id)
    .join(executions, _x.run_id == run_heads.c.run_id)
    .where(_x.id == sa.bindparam("execution"))
    .with_for_update(of=run_heads, read=True, key_share=True)
)


class Cache:
    def __init__(self, database: Database) -> None:
        self._database = database

    def find(
        self, fingerprint: str, scope: str, namespace: str = DEFAULT, *, besides: str = ""
    ) -> Iterator[CachedOutputs]:
        """Hits, newest first; take the first whose artifacts can be read. Nothing is held open between two.
        Those of the run `besides` are left out.

        The key is KFP's (cacheutils/cache.go): fingerprint, `pipeline/<name>`, namespace. An empty
        fingerprint has no hits.
        """
        if not fingerprint:
            return
        wanted: dict[str, str | float] = {
            "wanted": fingerprint,
            "scope": scope,
            "owner": namespace,
            "besides": besides,
        }
        statement = _FIND
        while True:
            with self._database.read() as connection:
                rows = connection.execute(statement, wanted).all()
            for execution_id, run_id, path, outputs, created_at in rows:
                yield CachedOutputs(execution_id, run_id, path, load_values(outputs), created_at)
            if len(rows) < _PAGE:
                return
            statement = _FIND_MORE
            wanted = {**wanted, "last_time": rows[-1][4], "last_id": rows[-1][0]}

    def hold(self, execution_id: str) -> bool:
        """Whether a hit still stands. If so, it does until the open transaction ends, and then as long as a
        record of that transaction refers to it.
        """
        with self._database.write() as connection:
            return connection.execute(_HOLD, {"execution": execution_id}).one_or_none() is not None

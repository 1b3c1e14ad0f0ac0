"""Artifacts: what tasks wrote or brought in."""

from __future__ import annotations

import time
from collections.abc import Iterator, Mapping, Sequence
from typing import Any

import sqlalchemy as sa

from penstock.errors import InvalidInputError, NotFoundError
from penstock.model import Artifact, ArtifactType, Json
from penstock.store.columns import dump, dump_sorted, load_object, plain
from penstock.store.connection import Database
from penstock.store.dialect import insert_if_absent
from penstock.store.namespaces import DEFAULT, Namespaces
from penstock.store.records import ArtifactRecord, ArtifactState, Direction
from penstock.store.schema import artifacts, edges, executions, pins, run_heads

_a = artifacts.c
_COLUMNS = (
    _a.id,
    _a.name,
    _a.schema_title,
    _a.schema_version,
    _a.instance_schema,
    _a.uri,
    _a.metadata,
    _a.size,
    _a.sha256,
    _a.namespace,
    _a.state,
    _a.created_at,
)
_MADE_BY = sa.select(edges.c.artifact_id, edges.c.execution_id).where(
    edges.c.artifact_id.in_(sa.bindparam("wanted", expanding=True)),
    edges.c.direction == Direction.OUTPUT.value,
)
LIVING = (
    sa.select(executions.c.id, executions.c.run_id, executions.c.path)
    .join(run_heads, run_heads.c.run_id == executions.c.run_id)
    .where(executions.c.id.in_(sa.bindparam("wanted", expanding=True)))
)
"""Of the executions those whose runs are not being removed. Asked for by themselves: in one query with edges,
PostgreSQL reads all executions where it expects many.
"""
_KNOWN = (
    sa.select(_a.id)
    .where(_a.id.in_(sa.bindparam("wanted", expanding=True)))
    .order_by(_a.id)
    .with_for_update(read=True, key_share=True)
)
_MANY = sa.select(*_COLUMNS).where(_a.id.in_(sa.bindparam("wanted", expanding=True)))
_DELETE = sa.update(artifacts).where(_a.id == sa.bindparam("artifact"))
_IDENTICAL = (
    sa.select(*_COLUMNS)
    .where(
        _a.uri == sa.bindparam("place"),
        _a.namespace == sa.bindparam("owner"),
        _a.schema_title == sa.bindparam("title"),
        _a.schema_version == sa.bindparam("version"),
        _a.instance_schema == sa.bindparam("instance"),
        _a.state == ArtifactState.LIVE.value,
        sa.exists()
        .where(
            edges.c.artifact_id == _a.id,
            edges.c.direction.in_((Direction.OUTPUT.value, Direction.REUSED.value)),
            executions.c.id == edges.c.execution_id,
            executions.c.cache_scope == sa.bindparam("scope"),
            run_heads.c.run_id == executions.c.run_id,
        )
        .correlate(artifacts),
    )
    .order_by(_a.created_at.desc(), _a.id.desc())
)
_MAKERS = (
    sa.select(executions.c.run_id)
    .join(edges, edges.c.execution_id == executions.c.id)
    .where(edges.c.artifact_id == sa.bindparam("artifact"), edges.c.direction == Direction.OUTPUT.value)
)
_HOLD_MAKERS = (
    sa.select(run_heads.c.run_id)
    .where(run_heads.c.run_id.in_(_MAKERS))
    .with_for_update(read=True, key_share=True)
)
_UNPIN = sa.delete(pins).where(
    pins.c.artifact_id == sa.bindparam("artifact"), pins.c.kept_by == sa.bindparam("by")
)
_PINS = (
    sa.select(pins.c.kept_by).where(pins.c.artifact_id == sa.bindparam("artifact")).order_by(pins.c.kept_by)
)


class Artifacts:
    def __init__(self, database: Database, namespaces: Namespaces) -> None:
        self._database = database
        self._namespaces = namespaces

    def register(self, new: Sequence[Artifact], namespace: str = DEFAULT) -> None:
        """Record those that are not known by their id."""
        with self._database.write() as connection:
            self._namespaces.ensure(namespace)
            insert_unknown(connection, new, namespace)

    def get(self, artifact_id: str) -> ArtifactRecord:
        """Raises NotFoundError."""
        found = self.many([artifact_id])
        if not found:
            raise NotFoundError(f"artifact {artifact_id} is not recorded")
        return found[0]

    def find(self, reference: str) -> ArtifactRecord:
        """The artifact that a person means: by its id, or a beginning or an end of it that no other has.

        Raises NotFoundError, InvalidInputError when several fit.
        """
        fitting = _a.id == reference
        if len(reference) >= 4:
            part = reference.lower()
            fitting = sa.or_(
                fitting, _a.id.startswith(part, autoescape=True), _a.id.endswith(part, autoescape=True)
            )
        with self._database.read() as connection:
            found = connection.execute(sa.select(_a.id).where(fitting).limit(4)).scalars().all()
        if reference in found or len(found) == 1:
            return self.get(reference if reference in found else found[0])
        if found:
            some = ", ".join(found[:3]) + (", …" if len(found) > 3 else "")
            raise InvalidInputError(f"'{reference}' fits several artifacts ({some}); give the whole id")
        raise NotFoundError(
            f"there is no artifact '{reference}'; `penstock artifacts list` shows which there are"
        )

    def many(self, artifact_ids: Sequence[str]) -> list[ArtifactRecord]:
        """The records of those that are known, in the order asked for."""
        found: dict[str, ArtifactRecord] = {}
        with self._database.read() as connection:
            for start in range(0, len(artifact_ids), 500):
                some = list(artifact_ids[start : start + 500])
                rows = connection.execute(_MANY, {"wanted": some}).all()
                found.update((one.artifact.id, one) for one in _with_writers(connection, rows))
        return [found[one] for one in artifact_ids if one in found]

    def list(
        self,
        namespace: str | None = None,
        *,
        type: str | None = None,
        run_id: str | None = None,
        path: str | None = None,
        name: str | None = None,
        uri: str | None = None,
        limit: int = 50,
        before: str | None = None,
    ) -> list[ArtifactRecord]:
        """Newest first. `type` is a schema title; `run_id` (and `path`): what a run (a task) put out.

        `before` is the id of the last artifact of the page before this one.
        """
        query = sa.select(*_COLUMNS).order_by(_a.created_at.desc(), _a.id.desc()).limit(limit)
        for column, wanted in (
            (_a.namespace, namespace),
            (_a.schema_title, type),
            (_a.name, name),
            (_a.uri, uri),
        ):
            if wanted is not None:
                query = query.where(column == wanted)
        if run_id is not None:
            put_out = (
                sa.select(edges.c.artifact_id)
                .select_from(edges.join(executions, executions.c.id == edges.c.execution_id))
                .where(executions.c.run_id == run_id, edges.c.direction != Direction.INPUT.value)
            )
            if path is not None:
                put_out = put_out.where(executions.c.path == path)
            query = query.where(_a.id.in_(put_out))
        with self._database.read() as connection:
            if before is not None:
                last = self.get(before)
                query = query.where(sa.tuple_(_a.created_at, _a.id) < sa.tuple_(last.created_at, before))
            return _with_writers(connection, connection.execute(query).all())

    def find_identical(
        self,
        type: ArtifactType,
        uri: str,
        metadata: Mapping[str, Json],
        scope: str,
        namespace: str = DEFAULT,
    ) -> Artifact | None:
        """The newest live artifact of the type, place and metadata that an execution of the scope put out.

        An importer that does not import anew takes it (KFP: importer_launcher.go, in the pipeline's context).
        """
        place = {
            "place": uri,
            "owner": namespace,
            "title": type.schema_title,
            "version": type.schema_version,
            "instance": type.instance_schema,
            "scope": scope,
        }
        wanted = dump_sorted(metadata)
        with self._database.read() as connection:
            for row in connection.execute(_IDENTICAL, place):
                found = _artifact(row)
                if dump_sorted(found.metadata) == wanted:
                    return found
        return None

    def mark_deleted(self, artifact_id: str) -> None:
        """The content is gone; the record stays, and the cache offers it no more. Raises NotFoundError."""
        with self._database.write() as connection:
            changed = {"artifact": artifact_id, "state": ArtifactState.DELETED.value}
            if connection.execute(_DELETE, changed).rowcount == 0:
                raise NotFoundError(f"artifact {artifact_id} is not recorded")

    def pin(self, artifact_id: str, by: str) -> None:
        """From now on neither the artifact nor the run that made it is removed, for the sake of `by`: words
        for a person, such as `model iris, version 3`. Idempotent. Raises NotFoundError.
        """
        with self._database.write() as connection:
            wanted = {"artifact": artifact_id}
            known = connection.execute(_KNOWN, {"wanted": [artifact_id]}).all()
            makers = connection.execute(_MAKERS, wanted).all()
            if not known or (makers and not connection.execute(_HOLD_MAKERS, wanted).all()):
                raise NotFoundError(f"artifact {artifact_id} is not recorded")
            row = {"artifact_id": artifact_id, "kept_by": plain(by), "created_at": time.time()}
            connection.execute(insert_if_absent(connection, pins), row)

    def unpin(self, artifact_id: str, by: str) -> bool:
        """Take a pin back. False when there was none."""
        with self._database.write() as connection:
            return connection.execute(_UNPIN, {"artifact": artifact_id, "by": plain(by)}).rowcount == 1

    def pins(self, artifact_id: str) -> Sequence[str]:
        """For whose sake the artifact is kept."""
        with self._database.read() as connection:
            return connection.execute(_PINS, {"artifact": artifact_id}).scalars().all()


def insert_unknown(connection: sa.Connection, new: Sequence[Artifact], namespace: str) -> None:
    """Write those that are not known by their id, into a namespace that exists."""
    known: set[str] = set()
    wanted = sorted({artifact.id for artifact in new})
    for start in range(0, len(wanted), 500):
        known.update(connection.execute(_KNOWN, {"wanted": wanted[start : start + 500]}).scalars())
    now = time.time()
    rows = {one.id: _row(one, namespace, now) for one in new if one.id not in known}
    if rows:
        in_one_order = [rows[artifact_id] for artifact_id in sorted(rows)]
        connection.execute(insert_if_absent(connection, artifacts), in_one_order)


def _row(artifact: Artifact, namespace: str, now: float) -> dict[str, Any]:
    return {
        "id": artifact.id,
        "namespace": namespace,
        "schema_title": artifact.type.schema_title,
        "schema_version": artifact.type.schema_version,
        "instance_schema": plain(artifact.type.instance_schema),
        "name": plain(artifact.name),
        "uri": plain(artifact.uri),
        "metadata": dump(artifact.metadata),
        "size": artifact.size,
        "sha256": artifact.sha256,
        "state": ArtifactState.LIVE.value,
        "created_at": now,
    }


def _artifact(row: Sequence[Any]) -> Artifact:
    artifact_id, name, title, version, instance, uri, metadata, size, sha256 = row[:9]
    return Artifact(
        artifact_id, name, ArtifactType(title, version, instance), uri, load_object(metadata), size, sha256
    )


def _with_writers(connection: sa.Connection, rows: Sequence[Sequence[Any]]) -> list[ArtifactRecord]:
    makers: dict[str, str] = {
        row[0]: row[1] for row in _chunked(connection, _MADE_BY, [row[0] for row in rows])
    }
    writers = {
        execution_id: (run_id, path)
        for execution_id, run_id, path in _chunked(connection, LIVING, sorted(set(makers.values())))
    }
    return [
        ArtifactRecord(
            _artifact(row),
            row[9],
            ArtifactState(row[10]),
            row[11],
            *writers.get(makers.get(row[0], ""), (None, None)),
        )
        for row in rows
    ]


def _chunked(
    connection: sa.Connection, statement: sa.Executable, wanted: Sequence[str]
) -> Iterator[Sequence[Any]]:
    for start in range(0, len(wanted), 500):
        yield from connection.execute(statement, {"wanted": wanted[start : start + 500]})

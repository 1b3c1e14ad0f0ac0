"""Pipelines and their versions: each document once, known by its digest."""

from __future__ import annotations

import time

import sqlalchemy as sa

from penstock.errors import NotFoundError
from penstock.model import Json, Pipeline
from penstock.store.columns import dump_sorted, plain
from penstock.store.connection import Database
from penstock.store.dialect import insert_if_absent
from penstock.store.ids import new_id
from penstock.store.namespaces import DEFAULT, Namespaces
from penstock.store.records import PipelineRecord, VersionRecord
from penstock.store.schema import pipeline_versions, pipelines

_p = pipelines.c
_v = pipeline_versions.c
_PIPELINE = sa.select(_p.id, _p.namespace, _p.name, _p.display_name, _p.description, _p.created_at)
_NAMED = _PIPELINE.where(_p.namespace == sa.bindparam("owner"), _p.name == sa.bindparam("wanted"))
_LIST = _PIPELINE.where(_p.namespace == sa.bindparam("owner")).order_by(_p.name)
_VERSION = sa.select(_v.id, _v.pipeline_id, _v.digest, _v.created_at)
_VERSION_ONE = _VERSION.where(_v.id == sa.bindparam("version"))
_VERSIONS = _VERSION.where(_v.pipeline_id == sa.bindparam("pipeline")).order_by(
    _v.created_at.desc(), _v.id.desc()
)
_VERSION_OF = _VERSION.where(_v.pipeline_id == sa.bindparam("pipeline"), _v.digest == sa.bindparam("wanted"))
_KNOWN = (
    sa.select(_v.id)
    .join(pipelines, _p.id == _v.pipeline_id)
    .where(
        _p.namespace == sa.bindparam("owner"),
        _p.name == sa.bindparam("named"),
        _v.digest == sa.bindparam("wanted"),
    )
)
_DOCUMENT = sa.select(_v.document).where(_v.id == sa.bindparam("version"))


class Pipelines:
    def __init__(self, database: Database, namespaces: Namespaces) -> None:
        self._database = database
        self._namespaces = namespaces

    def save(self, pipeline: Pipeline, namespace: str = DEFAULT) -> str:
        """Record the pipeline and this version of it unless they are known; the version's id."""
        known = {"owner": namespace, "named": pipeline.name, "wanted": pipeline.digest}
        with self._database.write() as connection:
            row = connection.execute(_KNOWN, known).one_or_none()
            if row is not None:
                return row[0]
            found = self._find(connection, namespace, pipeline.name)
            if found is None:
                self._namespaces.ensure(namespace)
                new = {
                    "id": new_id(),
                    "namespace": namespace,
                    "name": pipeline.name,
                    "display_name": plain(pipeline.display_name),
                    "description": plain(pipeline.description),
                    "created_at": time.time(),
                }
                connection.execute(insert_if_absent(connection, pipelines), new)
                found = self._find(connection, namespace, pipeline.name)
                assert found is not None
            wanted = {"pipeline": found.id, "wanted": pipeline.digest}
            row = connection.execute(_VERSION_OF, wanted).one_or_none()
            if row is None:
                version = {
                    "id": new_id(),
                    "pipeline_id": found.id,
                    "digest": pipeline.digest,
                    "document": _document(pipeline),
                    "created_at": time.time(),
                }
                connection.execute(insert_if_absent(connection, pipeline_versions), version)
                row = connection.execute(_VERSION_OF, wanted).one()
            return row[0]

    def document(self, version_id: str) -> str:
        """JSON: `{"pipeline_spec": …}`, and `"platform_spec"` where there is one (KFP's REST API).

        Raises NotFoundError.
        """
        with self._database.read() as connection:
            row = connection.execute(_DOCUMENT, {"version": version_id}).one_or_none()
        if row is None:
            raise NotFoundError(f"pipeline version {version_id} is not recorded")
        return row[0]

    def version(self, version_id: str) -> VersionRecord:
        """Raises NotFoundError."""
        with self._database.read() as connection:
            row = connection.execute(_VERSION_ONE, {"version": version_id}).one_or_none()
        if row is None:
            raise NotFoundError(f"pipeline version {version_id} is not recorded")
        return VersionRecord(*row)

    def versions(self, pipeline_id: str) -> list[VersionRecord]:
        """Newest first."""
        with self._database.read() as connection:
            return [VersionRecord(*row) for row in connection.execute(_VERSIONS, {"pipeline": pipeline_id})]

    def get(self, name: str, namespace: str = DEFAULT) -> PipelineRecord:
        """Raises NotFoundError."""
        with self._database.read() as connection:
            found = self._find(connection, namespace, name)
        if found is None:
            raise NotFoundError(f"there is no pipeline '{name}' in namespace '{namespace}'")
        return found

    def list(self, namespace: str = DEFAULT) -> list[PipelineRecord]:
        """By name."""
        with self._database.read() as connection:
            return [PipelineRecord(*row) for row in connection.execute(_LIST, {"owner": namespace})]

    @staticmethod
    def _find(connection: sa.Connection, namespace: str, name: str) -> PipelineRecord | None:
        row = connection.execute(_NAMED, {"owner": namespace, "wanted": name}).one_or_none()
        return None if row is None else PipelineRecord(*row)


def _document(pipeline: Pipeline) -> str:
    both: dict[str, Json] = {"pipeline_spec": pipeline.document}
    if pipeline.platform:
        both["platform_spec"] = pipeline.platform
    return dump_sorted(both)

"""Experiments: groups of runs."""

from __future__ import annotations

import time
from collections.abc import Sequence
from typing import Any

import sqlalchemy as sa

from penstock.errors import NotFoundError
from penstock.store.connection import Database
from penstock.store.dialect import insert_if_absent
from penstock.store.ids import new_id
from penstock.store.namespaces import DEFAULT, Namespaces
from penstock.store.records import ExperimentRecord, StorageState
from penstock.store.schema import experiments

_e = experiments.c
_SELECT = sa.select(_e.id, _e.namespace, _e.name, _e.description, _e.storage_state, _e.created_at)
_NAMED = _SELECT.where(_e.namespace == sa.bindparam("owner"), _e.name == sa.bindparam("wanted"))
_LIST = _SELECT.where(_e.namespace == sa.bindparam("owner")).order_by(_e.created_at.desc(), _e.id.desc())


class Experiments:
    def __init__(self, database: Database, namespaces: Namespaces) -> None:
        self._database = database
        self._namespaces = namespaces

    def ensure(self, name: str, namespace: str = DEFAULT, *, description: str = "") -> ExperimentRecord:
        """The experiment of that name, made unless it exists."""
        wanted = {"owner": namespace, "wanted": name}
        with self._database.write() as connection:
            row = connection.execute(_NAMED, wanted).one_or_none()
            if row is None:
                self._namespaces.ensure(namespace)
                new = {
                    "id": new_id(),
                    "namespace": namespace,
                    "name": name,
                    "description": description,
                    "storage_state": StorageState.AVAILABLE.value,
                    "created_at": time.time(),
                }
                connection.execute(insert_if_absent(connection, experiments), new)
                row = connection.execute(_NAMED, wanted).one()
        return _experiment(row)

    def get(self, name: str, namespace: str = DEFAULT) -> ExperimentRecord:
        """Raises NotFoundError."""
        with self._database.read() as connection:
            row = connection.execute(_NAMED, {"owner": namespace, "wanted": name}).one_or_none()
        if row is None:
            raise NotFoundError(f"there is no experiment '{name}' in namespace '{namespace}'")
        return _experiment(row)

    def list(self, namespace: str = DEFAULT) -> list[ExperimentRecord]:
        """Newest first."""
        with self._database.read() as connection:
            return [_experiment(row) for row in connection.execute(_LIST, {"owner": namespace})]


def _experiment(row: Sequence[Any]) -> ExperimentRecord:
    experiment_id, namespace, name, description, storage_state, created_at = row
    return ExperimentRecord(
        experiment_id, namespace, name, description, StorageState(storage_state), created_at
    )

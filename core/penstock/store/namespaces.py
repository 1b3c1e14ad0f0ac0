"""Namespaces: who owns everything else."""

from __future__ import annotations

import time

import sqlalchemy as sa

from penstock.store.connection import Database
from penstock.store.dialect import insert_if_absent
from penstock.store.schema import namespaces

DEFAULT = "default"
_LIST = sa.select(namespaces.c.name).order_by(namespaces.c.name)
_ONE = sa.select(namespaces.c.name).where(namespaces.c.name == sa.bindparam("wanted"))


class Namespaces:
    def __init__(self, database: Database) -> None:
        self._database = database

    def ensure(self, name: str = DEFAULT) -> None:
        """Make the namespace unless it exists."""
        with self._database.write() as connection:
            if connection.execute(_ONE, {"wanted": name}).one_or_none() is None:
                row = {"name": name, "created_at": time.time()}
                connection.execute(insert_if_absent(connection, namespaces), row)

    def list(self) -> list[str]:
        with self._database.read() as connection:
            return [name for (name,) in connection.execute(_LIST)]

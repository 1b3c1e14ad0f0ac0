"""Pytest plugin: databases of a test's own on the PostgreSQL that is there."""

from __future__ import annotations

import os
import secrets
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any, LiteralString, cast

import pytest
import sqlalchemy as sa

from tests.services import need

if TYPE_CHECKING:
    import psycopg

POSTGRES = pytest.param("postgres", marks=pytest.mark.service("postgres"))


@dataclass
class Databases:
    """Those that one pytest process makes on a server; `prefix` begins their names."""

    server: str
    prefix: str = field(default_factory=lambda: f"penstock_test_{os.getpid()}_{secrets.token_hex(3)}")
    _made: int = 0
    _connection: psycopg.Connection[Any] | None = None

    @contextmanager
    def fresh(self, template: str = "template0") -> Iterator[str]:
        """The URL of a new database, a copy of that one; dropped afterwards, whoever still uses it."""
        self._made += 1
        name = f"{self.prefix}_{self._made}"
        self.execute(f'CREATE DATABASE "{name}" TEMPLATE "{template}" ENCODING UTF8 STRATEGY file_copy')
        try:
            yield self.url(name)
        finally:
            self.execute(f'DROP DATABASE "{name}" WITH (FORCE)')

    def url(self, name: str) -> str:
        url = sa.make_url(self.server)
        return url.set(drivername="postgresql", database=name).render_as_string(hide_password=False)

    def execute(self, statement: str) -> list[tuple[Any, ...]]:
        """In the database that the service's own URL names."""
        import psycopg

        if self._connection is None or self._connection.closed:
            self._connection = psycopg.connect(
                self.server.replace("postgresql+psycopg", "postgresql"), autocommit=True
            )
        cursor = self._connection.execute(cast("LiteralString", statement))
        return cursor.fetchall() if cursor.description else []

    def close(self) -> None:
        if self._connection is not None:
            self._connection.close()


@pytest.fixture(scope="session")
def databases() -> Iterator[Databases]:
    found = Databases(need("postgres"))
    yield found
    found.close()


@pytest.fixture(scope="session")
def postgres_template(databases: Databases) -> Iterator[str]:
    """The name of a database with the schema and nothing in it."""
    from penstock.store import migrations
    from penstock.store.connection import connect

    with databases.fresh() as url:
        database = connect(url)
        migrations.bring_up_to_date(database)
        database.close()
        yield cast("str", sa.make_url(url).database)


@pytest.fixture
def postgres_url(databases: Databases, postgres_template: str) -> Iterator[str]:
    """A database with the schema and nothing in it."""
    with databases.fresh(postgres_template) as url:
        yield url


@pytest.fixture
def empty_postgres_url(databases: Databases) -> Iterator[str]:
    """A database without tables."""
    with databases.fresh() as url:
        yield url

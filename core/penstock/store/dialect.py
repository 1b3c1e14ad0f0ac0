"""The few things that databases say differently."""

from __future__ import annotations

from functools import cache
from typing import Any

import sqlalchemy as sa
from sqlalchemy.ext.compiler import compiles
from sqlalchemy.sql.compiler import SQLCompiler
from sqlalchemy.sql.dml import Insert
from sqlalchemy.sql.functions import FunctionElement
from sqlalchemy.types import TypeEngine

SECONDS: sa.Double[float] = sa.Double()
"""The type of times and of spans of time."""


class database_clock(FunctionElement[float]):  # noqa: N801 - as SQLAlchemy calls its functions
    """The database's own time in seconds since the epoch; every machine agrees on it."""

    type: TypeEngine[float] = SECONDS
    inherit_cache = True


@compiles(database_clock, "sqlite")
def _sqlite_clock(element: database_clock, compiler: SQLCompiler, **options: object) -> str:  # pyright: ignore[reportUnusedFunction]
    return "((julianday('now') - 2440587.5) * 86400.0)"


@compiles(database_clock, "postgresql")
def _postgresql_clock(element: database_clock, compiler: SQLCompiler, **options: object) -> str:  # pyright: ignore[reportUnusedFunction]
    # Of the statement, as SQLite's is: a time that changes within it cannot be looked up in an index.
    return "CAST(EXTRACT(EPOCH FROM statement_timestamp()) AS DOUBLE PRECISION)"


def insert_if_absent(connection: sa.Connection, table: sa.Table) -> Insert:
    """An insert that passes over rows which a unique constraint forbids; the result's `rowcount` tells."""
    return _insert_if_absent(connection.dialect.name, table)


@cache
def _insert_if_absent(dialect: str, table: sa.Table) -> Insert:
    found: Any
    if dialect == "sqlite":
        from sqlalchemy.dialects import sqlite

        found = sqlite.insert(table).on_conflict_do_nothing()
    else:
        from sqlalchemy.dialects import postgresql

        found = postgresql.insert(table).on_conflict_do_nothing()
    return found.execution_options(preserve_rowcount=True)

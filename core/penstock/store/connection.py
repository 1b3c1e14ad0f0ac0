"""Connections and transactions: which database a URL names, and who may write when."""

from __future__ import annotations

import os
import threading
import weakref
from collections.abc import Callable, Generator
from contextlib import contextmanager
from pathlib import Path

import sqlalchemy as sa
from sqlalchemy.exc import DBAPIError

from penstock.errors import InvalidInputError, PenstockError, StoreError
from penstock.store import sqlite

_REMEDY = "set PENSTOCK_DATABASE_URL to sqlite:///path/to/penstock.db"


class _Transaction(threading.local):
    """The open transaction of this thread. `failure` is what went wrong in a part of it."""

    connection: sa.Connection | None = None
    failure: BaseException | None = None


class Database:
    """An engine, and at most one open transaction a thread.

    `explain` turns the driver's errors into sentences. With `one_writer` the threads of this process queue
    here for the writer's place, which is quicker than meeting in the database.
    """

    def __init__(
        self,
        engine: sa.Engine,
        explain: Callable[[DBAPIError], PenstockError],
        *,
        one_writer: bool,
        patience: float = sqlite.PATIENCE,
    ) -> None:
        self.engine = engine
        self._readers = engine.execution_options(penstock_reader=True)
        self._explain = explain
        self._patience = patience
        self._writer = threading.Lock() if one_writer else None
        self._current = _Transaction()
        _opened.add(self)

    @contextmanager
    def write(self) -> Generator[sa.Connection]:
        """A connection in this thread's write transaction: the open one, or one that commits at the end.

        All of a transaction happens or none: once an inner part has failed, the outermost cannot commit.
        Raises StoreError for what the database reports.
        """
        current = self._current
        if current.connection is not None:
            try:
                yield current.connection
            except BaseException as error:
                current.failure = current.failure or error
                if isinstance(error, DBAPIError):
                    raise self._explain(error) from error
                raise
            return
        if self._writer is not None and not self._writer.acquire(timeout=self._patience):
            raise StoreError(f"another thread has held the database for {self._patience:g} s; try again")
        try:
            with self.engine.begin() as connection:
                current.connection = connection
                yield connection
                if current.failure is not None:
                    raise StoreError(
                        f"nothing of the transaction was recorded: a part of it failed ({current.failure})"
                    ) from current.failure
        except DBAPIError as error:
            raise self._explain(error) from error
        finally:
            current.connection = current.failure = None
            if self._writer is not None:
                self._writer.release()

    @contextmanager
    def read(self) -> Generator[sa.Connection]:
        """A connection to read with: in this thread's open transaction, else in a snapshot of its own."""
        try:
            if self._current.connection is not None:
                yield self._current.connection
            else:
                with self._readers.begin() as connection:
                    yield connection
        except DBAPIError as error:
            raise self._explain(error) from error

    def close(self) -> None:
        self.engine.dispose()

    def after_fork(self) -> None:
        """In a child process: leave the parent's connections alone, untouched and unclosed."""
        _inherited.append(self.engine.pool)
        self.engine.dispose(close=False)
        self._writer = threading.Lock() if self._writer is not None else None
        self._current = _Transaction()


_opened: weakref.WeakSet[Database] = weakref.WeakSet()
_inherited: list[sa.Pool] = []


def _leave_to_parent() -> None:
    for database in list(_opened):
        database.after_fork()


if hasattr(os, "register_at_fork"):
    os.register_at_fork(after_in_child=_leave_to_parent)


def connect(url: str) -> Database:
    """The database that `url` names. Raises InvalidInputError, in one sentence, when it cannot be used."""
    scheme, separator, rest = url.partition("://")
    if scheme == "sqlite" and separator:
        if not rest.startswith("/") or len(rest) < 2:
            raise InvalidInputError(f"the database URL '{url}' names no file; {_REMEDY}")
        path = Path(rest[1:]).expanduser()
        return Database(
            sqlite.create_engine(path), lambda error: sqlite.explain(error, path), one_writer=True
        )
    if scheme.partition("+")[0] in ("postgresql", "postgres"):
        raise InvalidInputError(f"this version of penstock does not serve PostgreSQL yet; {_REMEDY}")
    if separator:
        raise InvalidInputError(f"the database scheme '{scheme}' is not known; {_REMEDY}")
    raise InvalidInputError(f"the database URL '{url}' has no scheme; {_REMEDY}")

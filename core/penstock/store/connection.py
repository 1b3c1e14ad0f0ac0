"""Connections and transactions: which database a URL names, and who may write when."""

from __future__ import annotations

import os
import threading
import weakref
from collections.abc import Callable, Generator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import NamedTuple

import sqlalchemy as sa
from sqlalchemy.exc import DBAPIError
from sqlalchemy.exc import TimeoutError as PoolTimeoutError

from penstock.errors import InvalidInputError, PenstockError, StoreAwayError, StoreError
from penstock.store.absence import Absence

_REMEDY = (
    "set PENSTOCK_DATABASE_URL to sqlite:///path/to/penstock.db or postgresql://user:password@host/database"
)


class _Transaction(threading.local):
    """What this thread has open. `failure` is what went wrong in a part of the write transaction."""

    connection: sa.Connection | None = None
    failure: BaseException | None = None
    reading: sa.Connection | None = None


class Mark(NamedTuple):
    """By which a transaction is known afterwards: its connection, its number there, the server's process."""

    connection: str
    number: int
    process: int


@dataclass(frozen=True, slots=True)
class Backend:
    """What differs between databases. `place` names the database to a person, without a password.

    `explain` turns the driver's errors into sentences. With `one_writer` the threads of this process queue
    for the writer's place for `patience` seconds, which is quicker than meeting in the database. `served`
    databases belong to a server: their schema is changed on request only. `committed` tells afterwards
    whether the transaction that had this `mark` was committed, when its connection was lost in the COMMIT;
    None when that cannot be told.
    """

    engine: sa.Engine
    place: str
    explain: Callable[[DBAPIError], PenstockError]
    patience: float
    one_writer: bool = False
    served: bool = False
    mark: Callable[[sa.Connection], Mark] | None = None
    committed: Callable[[sa.Connection, Mark], bool | None] | None = None


class Database:
    """An engine, and at most one open transaction a thread.

    `absence` says how long the database is waited for when it is away.
    """

    def __init__(self, backend: Backend) -> None:
        self.backend = backend
        self.engine = backend.engine
        self.absence = Absence()
        self._readers = self.engine.execution_options(penstock_purpose="read")
        self._upkeep = self.engine.execution_options(penstock_purpose="upkeep")
        self._writer = threading.Lock() if backend.one_writer else None
        self._current = _Transaction()
        _opened.add(self)

    @property
    def writing(self) -> bool:
        """Whether this thread has a write transaction open."""
        return self._current.connection is not None

    @contextmanager
    def write(self, *, upkeep: bool = False) -> Generator[sa.Connection]:
        """A connection in this thread's write transaction: the open one, or one that commits at the end.
        For `upkeep` it needs none of our tables.

        All of a transaction happens or none: once an inner part has failed, the outermost cannot commit.
        Raises StoreError for what the database reports, StoreAwayError when the connection was lost and
        nothing was recorded.
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
        patience = self.backend.patience
        if self._writer is not None and not self._writer.acquire(timeout=patience):
            raise StoreError(f"another thread has held the database for {patience:g} s; try again")
        try:
            connection = self._begin(self._upkeep if upkeep else self.engine)
            with connection:
                current.connection = connection
                yield connection
                if current.failure is not None:
                    if isinstance(current.failure, StoreAwayError):
                        raise current.failure
                    raise StoreError(
                        f"nothing of the transaction was recorded: a part of it failed ({current.failure})"
                    ) from current.failure
                self._commit(connection, marked=not upkeep)
            self.absence.over()
        except DBAPIError as error:
            raise self._explain(error) from error
        finally:
            current.connection = current.failure = None
            if self._writer is not None:
                self._writer.release()

    @contextmanager
    def read(self) -> Generator[sa.Connection]:
        """A connection to read with: in this thread's open transaction, else in a snapshot of its own.

        Raises as `write` does.
        """
        current = self._current
        opened = current.connection or current.reading
        try:
            if opened is not None:
                yield opened
                return
            connection = self._begin(self._readers)
            with connection:
                current.reading = connection
                try:
                    yield connection
                finally:
                    current.reading = None
                _end(connection)
            self.absence.over()
        except DBAPIError as error:
            explained = self._explain(error)
            if current.connection is not None:
                current.failure = current.failure or explained
            raise explained from error

    def close(self) -> None:
        self.engine.dispose()

    def after_fork(self) -> None:
        """In a child process: leave the parent's connections alone, untouched and unclosed."""
        _inherited.append(self.engine.pool)
        self.engine.dispose(close=False)
        self._writer = threading.Lock() if self._writer is not None else None
        self._current = _Transaction()

    def _begin(self, engine: sa.Engine) -> sa.Connection:
        """A connection with an open transaction. Waits while the database is away."""
        while True:
            try:
                connection = engine.connect()
                try:
                    connection.begin()
                except BaseException:
                    connection.close()
                    raise
                return connection
            except PoolTimeoutError:
                raise StoreError(
                    f"all connections of this process to {self.backend.place} are in use; try again"
                ) from None
            except DBAPIError as error:
                explained = self._explain(error)
                if not isinstance(explained, StoreAwayError):
                    raise explained from error
                self.absence.wait(explained)

    def _commit(self, connection: sa.Connection, *, marked: bool) -> None:
        """Raises StoreAwayError when the connection was lost and nothing was recorded.

        Lost in the COMMIT itself, the database is asked what became of it once it answers again.
        """
        mark = self.backend.mark(connection) if marked and self.backend.mark is not None else None
        try:
            connection.commit()
        except DBAPIError as error:
            explained = self._explain(error)
            if mark is None or not isinstance(explained, StoreAwayError) or not self._committed(mark):
                raise explained from error

    def _committed(self, mark: Mark) -> bool:
        """What became of a transaction, as far as anybody can tell."""
        assert self.backend.committed is not None
        while True:
            try:
                with self._begin(self._upkeep) as later:
                    found = self.backend.committed(later, mark)
                    _end(later)
                    return found is True
            except DBAPIError as error:
                explained = self._explain(error)
                if not isinstance(explained, StoreAwayError):
                    raise explained from error
                self.absence.wait(explained)

    def _explain(self, error: DBAPIError) -> PenstockError:
        return self.backend.explain(error)


def _end(connection: sa.Connection) -> None:
    """End a transaction that has only read: what it has read stands, whatever becomes of the connection."""
    try:
        connection.commit()
    except DBAPIError:
        connection.invalidate()


_opened: weakref.WeakSet[Database] = weakref.WeakSet()
_inherited: list[sa.Pool] = []


def _leave_to_parent() -> None:
    for database in list(_opened):
        database.after_fork()


if hasattr(os, "register_at_fork"):
    os.register_at_fork(after_in_child=_leave_to_parent)


def connect(url: str) -> Database:
    """The database that `url` names. Raises InvalidInputError, in one sentence, when it cannot be used.

    Nothing of the URL but its scheme is shown: anything may be a password where it is not well-formed.
    """
    scheme, separator, rest = url.partition("://")
    if not separator:
        shown = f"'{url}' " if "@" not in url else ""
        raise InvalidInputError(f"the database URL {shown}has no scheme; {_REMEDY}")
    if scheme == "sqlite":
        from penstock.store import sqlite

        if not rest.startswith("/") or len(rest) < 2:
            raise InvalidInputError(f"the database URL '{url}' names no file; {_REMEDY}")
        return Database(sqlite.backend(Path(rest[1:]).expanduser()))
    if scheme in ("postgresql", "postgres", "postgresql+psycopg"):
        from penstock.store import postgresql

        return Database(postgresql.backend(rest))
    if scheme.startswith(("postgresql+", "postgres+")):
        raise InvalidInputError(
            f"penstock speaks to PostgreSQL through psycopg 3, not '{scheme}'; "
            "begin PENSTOCK_DATABASE_URL with postgresql://"
        )
    raise InvalidInputError(f"the database scheme '{scheme}' is not known; {_REMEDY}")

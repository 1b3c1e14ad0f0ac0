"""PostgreSQL through psycopg 3: how it is connected to, and what its errors mean to a person."""

from __future__ import annotations

import math
import os
import re
import socket
import time
from collections.abc import Mapping
from typing import Any, cast

import sqlalchemy as sa
from sqlalchemy import event
from sqlalchemy.engine.interfaces import DBAPIConnection
from sqlalchemy.exc import (
    ArgumentError,
    DBAPIError,
    InterfaceError,
    InvalidatePoolError,
    OperationalError,
)
from sqlalchemy.pool import ConnectionPoolEntry, PoolProxiedConnection

from penstock.errors import InvalidInputError, PenstockError, StoreAwayError, StoreError
from penstock.store.connection import Backend, Mark
from penstock.store.ids import new_id

PATIENCE = 30.0
"""Seconds that a writer waits for another one's lock."""

POOL_SIZE, POOL_OVERFLOW = 5, 15
"""Connections that a process keeps, and those that it opens above that while many threads ask at once."""

_IDLE_SECONDS = 20
"""After so long between two statements of a transaction (its process is suspended, its machine gone) the
server ends it, and lets others have the run.
"""

_CONNECT: Mapping[str, Any] = {
    "connect_timeout": 10,
    "keepalives_idle": 10,
    "keepalives_interval": 5,
    "keepalives_count": 3,
    "tcp_user_timeout": 20_000,
}
_OPTIONS = f"-c lock_timeout={PATIENCE:.0f}s -c idle_in_transaction_session_timeout={_IDLE_SECONDS}s"
_RESTED_SECONDS = 1.0
_SETTLING = 30.0

_WRITE = "BEGIN ISOLATION LEVEL READ COMMITTED"
"""Row locks and compare-and-set order the writers of a run; each statement sees what was committed till then.
"""
_READ = "BEGIN ISOLATION LEVEL REPEATABLE READ READ ONLY"

# Each transaction leaves its number with its connection, to be asked for when the answer to its COMMIT is
# lost. (PostgreSQL's own pg_xact_status cannot tell after a crash: ids may be given a second time.)
_CLOCK = "CAST(EXTRACT(EPOCH FROM statement_timestamp()) AS DOUBLE PRECISION)"
_FORGOTTEN_SECONDS = 86400
_ENTER = (
    f"DELETE FROM commits WHERE at < {_CLOCK} - {_FORGOTTEN_SECONDS};"
    f" INSERT INTO commits (connection, number, at) VALUES ('%s', 0, {_CLOCK}) ON CONFLICT DO NOTHING"
)
_MARK = f"UPDATE commits SET number = %s, at = {_CLOCK} WHERE connection = '%s'"
_MARKED = sa.text("SELECT number FROM commits WHERE connection = :id FOR UPDATE SKIP LOCKED")
_TERMINATE = sa.text("SELECT pg_terminate_backend(:pid)")


def backend(rest: str) -> Backend:
    """The database that a URL names; `rest` is what follows its `://`. Raises InvalidInputError."""
    try:
        url = sa.make_url(f"postgresql+psycopg://{rest}")
    except (ArgumentError, ValueError):
        raise InvalidInputError(
            "PENSTOCK_DATABASE_URL is no URL of a PostgreSQL; write "
            "postgresql://user:password@host:port/database, with special characters as %40 and so on"
        ) from None
    place = place_of(url)
    return Backend(
        _engine(url),
        place,
        lambda error: explain(error, place),
        patience=PATIENCE,
        served=True,
        mark=_mark,
        committed=_committed,
    )


def place_of(url: sa.URL) -> str:
    """`postgresql://user@host:port/database`: enough to know it by, and nothing secret."""
    hosts = url.query.get("host", "")
    host = url.host or ",".join([hosts] if isinstance(hosts, str) else hosts)
    shown = sa.URL.create(
        "postgresql", url.username, host=host or None, port=url.port, database=url.database
    ).render_as_string(hide_password=True)
    return shown.replace("%2F", "/")


def _engine(url: sa.URL) -> sa.Engine:
    options = " ".join([_OPTIONS, *_listed(url.query.get("options", ()))])
    connect = {name: value for name, value in _CONNECT.items() if name not in url.query}
    try:
        engine = sa.create_engine(
            url,
            connect_args={**connect, "options": options},
            client_encoding="utf8",
            isolation_level="AUTOCOMMIT",  # transactions are begun below
            use_native_hstore=False,
            pool_size=POOL_SIZE,
            max_overflow=POOL_OVERFLOW,
            pool_use_lifo=True,
        )
    except ImportError as error:
        raise InvalidInputError(
            f"PostgreSQL needs psycopg, which cannot be used here ({error}): pip install 'penstock[postgres]'"
        ) from error

    @event.listens_for(engine, "do_connect")
    def _name(dialect: object, record: object, arguments: object, parameters: dict[str, Any]) -> None:  # pyright: ignore[reportUnusedFunction]
        parameters.setdefault(
            "fallback_application_name", f"penstock {socket.gethostname()}/{os.getpid()}"[:63]
        )

    @event.listens_for(engine, "checkin")
    def _rest(connection: DBAPIConnection | None, entry: ConnectionPoolEntry) -> None:  # pyright: ignore[reportUnusedFunction]
        entry.info["penstock_rests"] = time.monotonic()

    @event.listens_for(engine, "checkout")
    def _wake(connection: DBAPIConnection, entry: ConnectionPoolEntry, proxy: PoolProxiedConnection) -> None:  # pyright: ignore[reportUnusedFunction]
        """SQLAlchemy's pre-ping, but only for those that have rested: that saves most of the round trips."""
        if time.monotonic() - entry.info.get("penstock_rests", time.monotonic()) > _RESTED_SECONDS:
            try:
                engine.dialect.do_ping(connection)
            except engine.dialect.loaded_dbapi.Error as error:
                raise InvalidatePoolError from error

    @event.listens_for(engine, "begin")
    def _begin(connection: sa.Connection) -> None:  # pyright: ignore[reportUnusedFunction]
        purpose = connection.get_execution_options().get("penstock_purpose")
        if purpose == "read":
            connection.exec_driver_sql(_READ)
        elif purpose == "upkeep":
            connection.exec_driver_sql(_WRITE)
        else:
            _begin_marked(connection)

    return engine


def _begin_marked(connection: sa.Connection) -> None:
    """Begin, and leave the transaction's number, in one message to the server."""
    known, now = connection.info, time.monotonic()
    if "penstock_id" not in known:
        known["penstock_id"], known["penstock_number"] = new_id(), 0
        known["penstock_process"] = connection.exec_driver_sql("SELECT pg_backend_pid()").scalar_one()
    if now - known.get("penstock_entered", -math.inf) > _FORGOTTEN_SECONDS / 2:
        connection.exec_driver_sql(_ENTER % known["penstock_id"])
        known["penstock_entered"] = now
    known["penstock_number"] += 1
    base = connection.dialect.loaded_dbapi.Error
    try:
        cast("Any", connection.connection.driver_connection).execute(
            f"{_WRITE}; {_MARK % (known['penstock_number'], known['penstock_id'])}", prepare=False
        )
    except base as error:
        connection.invalidate(error)
        raise DBAPIError.instance(_WRITE, None, error, base, connection_invalidated=True) from error


def _mark(connection: sa.Connection) -> Mark:
    """Of the open transaction."""
    known = connection.info
    return Mark(known["penstock_id"], known["penstock_number"], known["penstock_process"])


def _listed(found: str | tuple[str, ...]) -> tuple[str, ...]:
    return (found,) if isinstance(found, str) else found


def _committed(later: sa.Connection, mark: Mark) -> bool | None:
    """Whether a transaction whose connection was lost in its COMMIT was committed after all."""
    until = time.monotonic() + _SETTLING
    while (found := later.execute(_MARKED, {"id": mark.connection}).scalar_one_or_none()) is None:
        # It goes on: the server does not know yet that we are gone, or that we wanted to commit.
        if time.monotonic() > until:
            return None
        later.execute(_TERMINATE, {"pid": mark.process})
        time.sleep(0.05)
    return found == mark.number


_USER = re.compile(
    r"authentication failed|no password supplied|role .* does not exist|not permitted to log in"
    r"|no pg_hba\.conf entry|pg_hba\.conf rejects|permission denied for database"
)
_SETTING = re.compile(
    r"invalid (connection option|\w+ value|integer value|port)"
    r"|does not support SSL|certificate|root\.crt|SSL error|response to SSL"
)
_FULL = re.compile(r"too many (clients|connections)|remaining connection slots")
_REMEDY = "see PENSTOCK_DATABASE_URL"


def explain(error: DBAPIError, place: str) -> PenstockError:
    """The sentence for an error of the driver. `place` names the database."""
    origin = error.orig
    state = getattr(origin, "sqlstate", None) or ""
    text = _reason(str(origin))
    if error.connection_invalidated and not state:
        return StoreAwayError(f"the connection to the database {place} was lost ({text})", "try again")
    if not state and (isinstance(error, OperationalError | InterfaceError) or "connection option" in text):
        return _unconnected(text, place)
    if state in ("57P01", "57P02", "57P03", "57P05", "25P03") or (state[:2] == "08" and state != "08P01"):
        return StoreAwayError(f"the database {place} has gone away ({text})", "see whether it runs")
    if state in ("40001", "40P01"):
        return StoreAwayError(f"the database {place} asks for the transaction to be repeated ({text})")
    if state == "53300":
        return _full(text, place)
    if state == "42501":
        return InvalidInputError(
            f"the user of {place} may not do this ({text}); have its owner GRANT it, or name another user"
        )
    if state == "25006":
        return StoreError(
            f"the database {place} is read-only ({text}); name the primary server in PENSTOCK_DATABASE_URL, "
            "and a user that may write"
        )
    if state in ("53100", "53200"):
        what = "disk" if state == "53100" else "memory"
        return StoreError(
            f"the {what} of the database server is full ({place}: {text}); make room and resume the run"
        )
    if state == "55P03":
        return StoreError(
            f"another process has held what this one needs in {place} for {PATIENCE:g} s; "
            "see which penstock process hangs (pg_stat_activity), and try again"
        )
    if state[:2] == "54" or state == "08P01":
        return StoreError(
            f"this is too large for the database {place} ({text}); "
            "names, paths and URIs end at about 2,700 bytes, values at 1 GiB"
        )
    if state in ("42P01", "42703"):
        return StoreError(f"a table is not as it should be in {place} ({text}); run `penstock db check`")
    return StoreError(f"the database {place} reports: {text}")


def _unconnected(text: str, place: str) -> PenstockError:
    """While it connects, libpq gives no code, only words."""
    if _USER.search(text):
        return InvalidInputError(f"the database {place} refuses the user or the password ({text}); {_REMEDY}")
    if re.search(r"database .* does not exist", text):
        return InvalidInputError(
            f"there is no such database: {place} ({text}); make it with createdb, or {_REMEDY}"
        )
    if _FULL.search(text):
        return _full(text, place)
    if _SETTING.search(text):
        return InvalidInputError(f"the database {place} cannot be connected to like this ({text}); {_REMEDY}")
    return StoreAwayError(
        f"the database {place} cannot be reached ({text})", f"see whether it runs, and {_REMEDY}"
    )


def _full(text: str, place: str) -> StoreAwayError:
    return StoreAwayError(
        f"the database {place} has no connection left ({text})", "end some clients, or raise max_connections"
    )


def _reason(text: str) -> str:
    """The first line of what libpq or the server says, without what we know already."""
    first = text.strip().partition("\n")[0]
    found = re.search(r"(?:.*failed|^connection is bad): (?:FATAL: +)?(.*)", first)
    return (found[1] if found else first).rstrip(".")

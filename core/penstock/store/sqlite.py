"""SQLite: which files can hold the record, how they are opened, and what its errors mean to a person."""

from __future__ import annotations

import os
import re
import sqlite3
import time
from pathlib import Path

import sqlalchemy as sa
from sqlalchemy import event
from sqlalchemy.engine.interfaces import DBAPIConnection
from sqlalchemy.exc import DBAPIError
from sqlalchemy.pool import ConnectionPoolEntry

from penstock.errors import InvalidInputError, PenstockError, StoreError
from penstock.store.connection import Backend

PATIENCE = 30.0
"""Seconds that a writer waits for another one."""

_MAGIC = b"SQLite format 3\0"
_MOUNTS = Path("/proc/self/mounts")
_NETWORK = re.compile(
    r"(nfs\d?|cifs|smb\w*|ncpfs|afs|ceph|lustre|beegfs|gpfs|davfs\w*|pvfs2|orangefs"
    r"|fuse\.(sshfs|s3fs|gcsfuse|goofys|rclone|glusterfs|ceph\S*|juicefs|mount-s3|blobfuse2?|davfs2?|nfs\S*|smb\S*|cifs))"
)
_REMEDY = "set PENSTOCK_HOME or PENSTOCK_DATABASE_URL to a place on a local disk"


def backend(path: Path) -> Backend:
    """The database in the file. Raises InvalidInputError when it cannot be used."""
    return Backend(
        create_engine(path), str(path), lambda error: explain(error, path), patience=PATIENCE, one_writer=True
    )


def create_engine(path: Path) -> sa.Engine:
    """An engine on the file, which need not exist yet; its folder is made. Raises InvalidInputError."""
    path = path.absolute()
    _check(path)
    engine = sa.create_engine(
        sa.URL.create("sqlite", database=str(path)),
        connect_args={"timeout": PATIENCE, "check_same_thread": False},
        poolclass=sa.QueuePool,
        pool_size=8,
        max_overflow=-1,
        pool_use_lifo=True,
    )

    @event.listens_for(engine, "connect")
    def _connect(connection: DBAPIConnection, entry: ConnectionPoolEntry) -> None:  # pyright: ignore[reportUnusedFunction]
        assert isinstance(connection, sqlite3.Connection)
        _prepare(connection, path)

    @event.listens_for(engine, "begin")
    def _begin(connection: sa.Connection) -> None:  # pyright: ignore[reportUnusedFunction]
        purpose = connection.get_execution_options().get("penstock_purpose")
        connection.exec_driver_sql("BEGIN" if purpose == "read" else "BEGIN IMMEDIATE")

    return engine


def _prepare(connection: sqlite3.Connection, path: Path) -> None:
    connection.isolation_level = None
    connection.execute("PRAGMA foreign_keys = ON")
    connection.execute("PRAGMA synchronous = FULL")
    until = time.monotonic() + PATIENCE
    while True:
        try:
            (mode,) = connection.execute("PRAGMA journal_mode = WAL").fetchone()
            break
        except sqlite3.OperationalError as error:
            # SQLite does not wait by itself when two processes turn a new file to WAL at once.
            if not error.sqlite_errorname.startswith("SQLITE_BUSY") or time.monotonic() > until:
                raise
            time.sleep(0.01)
    if mode != "wal":
        raise InvalidInputError(f"SQLite cannot keep its write-ahead log beside '{path}'; {_REMEDY}")


def _check(path: Path) -> None:
    folder = path.parent
    kind = file_system(folder)
    if _NETWORK.fullmatch(kind):
        raise InvalidInputError(
            f"the database '{path}' is on a network file system ({kind}), where SQLite loses data; {_REMEDY}"
        )
    try:
        folder.mkdir(parents=True, exist_ok=True)
    except OSError as error:
        raise InvalidInputError(
            f"the folder '{folder}' for the database cannot be made ({error.strerror}); {_REMEDY}"
        ) from error
    if not os.access(folder, os.W_OK | os.X_OK):
        raise InvalidInputError(f"the folder '{folder}' of the database cannot be written to; {_REMEDY}")
    if not path.exists():
        return
    if not path.is_file():
        raise InvalidInputError(f"the database '{path}' is not a file; {_REMEDY}")
    if not os.access(path, os.R_OK | os.W_OK):
        raise InvalidInputError(f"the database '{path}' cannot be read and written; {_REMEDY}")
    with path.open("rb") as file:
        beginning = file.read(len(_MAGIC))
    if beginning not in (b"", _MAGIC):
        raise InvalidInputError(
            f"'{path}' is not an SQLite database; name another file in PENSTOCK_DATABASE_URL"
        )


def file_system(folder: Path, mounts: Path = _MOUNTS) -> str:
    """The type of the file system that `folder` is, or would be, on (`ext4`); empty where nobody tells."""
    try:
        lines = mounts.read_text(encoding="utf-8", errors="surrogateescape").splitlines()
    except OSError:
        return ""
    place = os.path.realpath(folder)
    longest, kind = -1, ""
    for line in lines:
        fields = line.split(" ")
        if len(fields) < 3:
            continue
        point = re.sub(r"\\([0-7]{3})", lambda found: chr(int(found[1], 8)), fields[1])
        inside = place == point or place.startswith(point.rstrip("/") + "/")
        if inside and len(point) >= longest:
            longest, kind = len(point), fields[2]
    return kind


def explain(error: DBAPIError, path: Path) -> PenstockError:
    """The sentence for an error of the driver."""
    origin = error.orig
    name = (
        origin.sqlite_errorname
        if isinstance(origin, sqlite3.Error) and hasattr(origin, "sqlite_errorname")
        else ""
    )
    if name.startswith(("SQLITE_BUSY", "SQLITE_LOCKED")):
        return StoreError(
            f"the database '{path}' has been in use by another process for {PATIENCE:g} s; "
            "see which penstock process hangs, and try again"
        )
    if name.startswith("SQLITE_FULL"):
        return StoreError(f"the disk of the database '{path}' is full; make room and resume the run")
    if name.startswith("SQLITE_NOTADB"):
        return InvalidInputError(
            f"'{path}' is not an SQLite database; name another file in PENSTOCK_DATABASE_URL"
        )
    if name.startswith("SQLITE_CORRUPT"):
        return StoreError(f"the database '{path}' is damaged ({origin}); restore it from a backup")
    if name.startswith(("SQLITE_READONLY", "SQLITE_CANTOPEN", "SQLITE_PERM")):
        return StoreError(f"the database '{path}' or its folder cannot be written to ({origin}); {_REMEDY}")
    if name.startswith("SQLITE_IOERR"):
        return StoreError(
            f"the disk of the database '{path}' fails ({origin}); see whether it is full or damaged"
        )
    return StoreError(f"the database '{path}' reports: {origin}")

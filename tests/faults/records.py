"""Where a scenario's runs are recorded, read without penstock: SQLite or PostgreSQL, files or S3.

A machine's `penstock.toml` beside its home names the servers; without it all is in the home.
"""

from __future__ import annotations

import hashlib
import os
import sqlite3
import tomllib
from collections.abc import Iterator
from contextlib import closing
from pathlib import Path
from typing import Any, LiteralString, Protocol, TypeAlias, cast
from urllib.parse import unquote, urlsplit

import psycopg
from minio import Minio
from psycopg.rows import dict_row

Row: TypeAlias = dict[str, Any]


CONFIGURATION = "penstock.toml"


class Records(Protocol):
    def rows(self, query: str, *values: str) -> list[Row]:
        """The result of a query, `?` for each value; nothing where there are no tables yet."""
        ...

    def damage(self) -> Iterator[str]:
        """What is wrong with the database itself, one sentence each."""
        ...

    def content(self, uri: str) -> tuple[int, str] | None:
        """(size, sha256) of an artifact, None where there is none.

        Of a directory: the digest of `<sha256>  <name>`, each ended by NUL, by name.
        """
        ...

    def stored(self, root: str) -> Iterator[str]:
        """The URIs of everything in the artifact store."""
        ...

    def is_unfinished(self, uri: str) -> bool: ...


def records_of(home: Path) -> Records:
    place = home.parent / CONFIGURATION
    if not place.exists():
        return _Files(home / "penstock.db")
    return _Servers(tomllib.loads(place.read_text("utf-8"))["database_url"])


class _Files:
    def __init__(self, database: Path) -> None:
        self._database = database

    def rows(self, query: str, *values: str) -> list[Row]:
        if not self._database.exists():
            return []
        with closing(sqlite3.connect(f"{self._database.as_uri()}?mode=ro", uri=True)) as connection:
            connection.row_factory = sqlite3.Row
            if not connection.execute("SELECT 1 FROM sqlite_master WHERE name = 'runs'").fetchone():
                return []
            return [dict(row) for row in connection.execute(query, values)]

    def damage(self) -> Iterator[str]:
        for row in self.rows("PRAGMA integrity_check"):
            if row["integrity_check"] != "ok":
                yield f"the database is damaged: {row['integrity_check']}"
        for row in self.rows("PRAGMA foreign_key_check"):
            yield f"a row of {row['table']} refers to nothing in {row['parent']}"

    def content(self, uri: str) -> tuple[int, str] | None:
        path = local_path(uri)
        if path.is_file():
            return path.stat().st_size, hashlib.sha256(path.read_bytes()).hexdigest()
        if not path.is_dir():
            return None
        files = (one for one in path.rglob("*") if one.is_file())
        return listing({os.fsencode(one.relative_to(path)): one.read_bytes() for one in files})

    def stored(self, root: str) -> Iterator[str]:
        for folder, _, names in os.walk(local_path(root)):
            yield from (Path(folder, name).as_uri() for name in names)

    def is_unfinished(self, uri: str) -> bool:
        name = uri.rpartition("/")[2]
        return name.startswith(".penstock") or name.endswith(".part")


class _Servers:
    """PostgreSQL, and the S3 that AWS's own variables name."""

    def __init__(self, url: str) -> None:
        self._url = url
        endpoint = urlsplit(os.environ["AWS_ENDPOINT_URL_S3"])
        self._s3 = Minio(
            endpoint=endpoint.netloc,
            access_key=os.environ["AWS_ACCESS_KEY_ID"],
            secret_key=os.environ["AWS_SECRET_ACCESS_KEY"],
            secure=endpoint.scheme == "https",
        )

    def rows(self, query: str, *values: str) -> list[Row]:
        text = cast("LiteralString", query.replace("%", "%%").replace("?", "%s"))
        with psycopg.connect(self._url) as connection, connection.cursor(row_factory=dict_row) as cursor:
            if cursor.execute("SELECT to_regclass('runs') AS found").fetchone() == {"found": None}:
                return []
            return cursor.execute(text, values).fetchall()

    def damage(self) -> Iterator[str]:
        """Its foreign keys are always checked, and pages have checksums only where one asked for them."""
        return iter(())

    def content(self, uri: str) -> tuple[int, str] | None:
        place = urlsplit(uri)
        key = place.path.strip("/")
        names = [one.object_name or "" for one in self._objects(place.netloc, key)]
        if names == [key]:
            data = self._read(place.netloc, key)
            return len(data), hashlib.sha256(data).hexdigest()
        if f"{key}/{_LISTING}" not in names:
            return None
        files = {name.removeprefix(f"{key}/").encode(): name for name in names if not name.endswith(_LISTING)}
        return listing({name: self._read(place.netloc, whole) for name, whole in files.items()})

    def stored(self, root: str) -> Iterator[str]:
        place = urlsplit(root)
        for one in self._objects(place.netloc, place.path.strip("/")):
            yield f"s3://{place.netloc}/{one.object_name}"

    def is_unfinished(self, uri: str) -> bool:
        place = urlsplit(uri)
        if not uri.endswith(_LISTING):
            return uri.rpartition("/")[2].startswith(".penstock")
        return b'"complete": true' not in self._read(place.netloc, place.path.strip("/"))

    def _objects(self, bucket: str, key: str) -> Iterator[Any]:
        """That of the key itself, and those below it."""
        for one in self._s3.list_objects(bucket_name=bucket, prefix=key, recursive=True):
            name = one.object_name or ""
            if not key or name == key or name.startswith(f"{key}/"):
                yield one

    def _read(self, bucket: str, key: str) -> bytes:
        response = self._s3.get_object(bucket_name=bucket, object_name=key)
        try:
            return response.read()
        finally:
            response.close()
            response.release_conn()


_LISTING = ".penstock-listing.json"


def local_path(uri: str) -> Path:
    return Path(unquote(uri.removeprefix("file://")))


def listing(files: dict[bytes, bytes]) -> tuple[int, str]:
    whole, size = hashlib.sha256(), 0
    for name in sorted(files):
        size += len(files[name])
        whole.update(hashlib.sha256(files[name]).hexdigest().encode() + b"  " + name + b"\0")
    return size, whole.hexdigest()

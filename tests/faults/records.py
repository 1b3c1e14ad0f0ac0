"""Where a scenario's runs are recorded, read without penstock."""

from __future__ import annotations

import hashlib
import os
import sqlite3
from collections.abc import Iterator
from contextlib import closing
from pathlib import Path
from typing import Any, Protocol, TypeAlias
from urllib.parse import unquote

Row: TypeAlias = dict[str, Any]


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
    return _Files(home / "penstock.db")


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


def local_path(uri: str) -> Path:
    return Path(unquote(uri.removeprefix("file://")))


def listing(files: dict[bytes, bytes]) -> tuple[int, str]:
    whole, size = hashlib.sha256(), 0
    for name in sorted(files):
        size += len(files[name])
        whole.update(hashlib.sha256(files[name]).hexdigest().encode() + b"  " + name + b"\0")
    return size, whole.hexdigest()

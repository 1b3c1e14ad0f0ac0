"""The one object that makes a directory of many: which files are in it, and that all of them are there.

    {"version": 1, "complete": true,
     "files": [{"name": "sub/a.txt", "size": 5, "sha256": "…"}], "directories": ["sub"],
     "links": {"latest": "sub/a.txt"}}

It lies in the directory itself. It is written before the first file, incomplete, and again after the last. So
whoever finds it incomplete finds no artifact, and whoever finds none looks at data that somebody else put
there. A link has an entry among `files` as well, with what it leads to, and an object with that content.
"""

from __future__ import annotations

import json
import posixpath
from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import cast

from penstock.artifacts.content import PART, of_listing
from penstock.artifacts.error import ArtifactError
from penstock.artifacts.protocol import Stored
from penstock.model import JsonObject

LISTING = ".penstock-listing.json"
VERSION = 1


@dataclass(frozen=True, slots=True)
class Entry:
    name: str
    size: int
    sha256: str


@dataclass(frozen=True, slots=True)
class Listing:
    """`links` has targets by name, each relative to the link's own directory."""

    files: tuple[Entry, ...] = ()
    directories: tuple[str, ...] = ()
    links: dict[str, str] = field(default_factory=dict[str, str])
    complete: bool = True

    def stored(self, uri: str) -> Stored:
        return of_listing(uri, [(one.name, one.size, one.sha256) for one in self.files])

    def to_bytes(self) -> bytes:
        found = {
            "version": VERSION,
            "complete": self.complete,
            "files": [{"name": one.name, "size": one.size, "sha256": one.sha256} for one in self.files],
            "directories": self.directories,
            "links": self.links,
        }
        return json.dumps(found, ensure_ascii=False).encode()

    @staticmethod
    def from_bytes(data: bytes, uri: str) -> Listing:
        """Raises ArtifactError for what is no listing of this version."""
        try:
            found = cast("JsonObject", json.loads(data))
            if found["version"] != VERSION:
                raise ArtifactError(
                    f"{uri!r} has a listing of version {found['version']}, and this penstock reads version "
                    f"{VERSION}; read it with the penstock release that wrote it"
                )
            files = cast("Sequence[JsonObject]", found["files"])
            listing = Listing(
                tuple(
                    Entry(cast("str", one["name"]), cast("int", one["size"]), cast("str", one["sha256"]))
                    for one in files
                ),
                tuple(cast("list[str]", found["directories"])),
                cast("dict[str, str]", found["links"]),
                found["complete"] is True,
            )
            for name in (*(one.name for one in listing.files), *listing.directories, *listing.links):
                inside(name)
            for name, target in listing.links.items():
                inside(posixpath.normpath(posixpath.join(posixpath.dirname(name), target)))
            return listing
        except (ValueError, KeyError, TypeError) as problem:
            raise ArtifactError(f"the listing of {uri!r} is damaged; run its task again") from problem


INCOMPLETE = Listing(complete=False)


def inside(name: str) -> str:
    """Raises ValueError for a name that would not lie in the directory it is told to be in."""
    if not all(part and part not in ("..", ".") for part in name.split("/")) or "\0" in name:
        raise ValueError(name)
    return name


def is_ours(name: str) -> bool:
    """Whether the last part of a key is a name that is never a file of an artifact."""
    last = name.rpartition("/")[2]
    return last == LISTING or last.startswith(PART)

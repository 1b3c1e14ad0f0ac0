"""The artifact store seam: bytes under URIs."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Protocol, TypeAlias

Progress: TypeAlias = Callable[[int, int], None]
"""Told how far a transfer is: so many bytes, of so many. By one thread at a time."""


@dataclass(frozen=True, slots=True)
class Stored:
    """What `put` stored. `size` in bytes; `sha256` as at `penstock.model.Artifact`; `files` is their
    number.
    """

    uri: str
    size: int
    sha256: str
    is_directory: bool = False
    files: int = 1


class ArtifactStore(Protocol):
    """Files and directories under URIs of one or more schemes. Every method raises ArtifactError, one
    sentence.
    """

    schemes: tuple[str, ...]

    def put(self, source: Path, uri: str, *, move: bool = False, progress: Progress | None = None) -> Stored:
        """Store a file or a directory; nothing is visible at `uri` before all of it is.

        `move` allows the source to be consumed. When `progress` hears of the last byte, nothing is visible
        yet.
        """
        ...

    def get(
        self, uri: str, target: Path, *, expected: Stored | None = None, progress: Progress | None = None
    ) -> Stored:
        """Copy to `target` (created with its parents); content that differs from `expected` is an error."""
        ...

    def local(self, uri: str) -> Path | None:
        """Where the content can be read in place on this machine, or None: then `get` it."""
        ...

    def place(self, uri: str) -> Path | None:
        """Where a task on this machine may write the content itself, or None.

        `put(place(uri), uri)` then keeps it there without copying; until that the content is nobody's.
        """
        ...

    def stat(self, uri: str) -> Stored | None:
        """Size of what is stored, or None where there is nothing readable (sha256 may be empty)."""
        ...

    def list(self, uri: str) -> Iterator[str]:
        """The URIs of the files at and below `uri`."""
        ...

    def delete(self, uri: str) -> int:
        """Remove what is at and below `uri`; the number of files removed, 0 when there was nothing."""
        ...

    def presign(self, uri: str, seconds: int) -> str:
        """A URL by which anybody can read the file at `uri` over HTTP for so long."""
        ...

    def check(self, uri: str) -> None:
        """Raises ArtifactError when it is certain that nothing can be stored below `uri`. Stores nothing."""
        ...

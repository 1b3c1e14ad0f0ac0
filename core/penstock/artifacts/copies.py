"""Copies of artifacts in a folder of this machine, for whoever needs the same content next."""

from __future__ import annotations

import fcntl
import json
import os
import shutil
import stat
from collections.abc import Generator
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import Final, cast
from uuid import uuid4

from penstock.artifacts.arrival import arriving, remove
from penstock.artifacts.content import PART, Content, examine
from penstock.artifacts.error import explained
from penstock.artifacts.protocol import ArtifactStore, Progress, Stored

_LOCKS = "locks"
_CONTENT = "content"
_SEAL = "seal.json"
_BOOT: Final = Path("/proc/sys/kernel/random/boot_id")


class Copies:
    """`<folder>/<sha256>/content`, a file or a directory, read-only. Safe for any number of processes.

    A copy is made under a lock, so that whoever needs the same waits for it. What was touched since, or lay
    there when the machine went down, is no copy any more. Of more than `limit` bytes, the ones go that were
    not used for longest; what was handed out as hard links stays whole.
    """

    def __init__(self, folder: Path, limit: int) -> None:
        self._folder = folder
        self._limit = limit

    def get(
        self, store: ArtifactStore, expected: Stored, target: Path, progress: Progress | None = None
    ) -> None:
        """Have the content of `expected` at `target`, which shares its bytes with the copy and must not be
        written to. Raises ArtifactError.
        """
        if expected.size > self._limit:
            store.get(expected.uri, target, expected=expected, progress=progress)
            return
        with explained(f"keep a copy of {expected.uri!r}"), self._locked(expected.sha256):
            content = self._copy(store, expected, progress)
            with arriving(target) as part:
                _link(examine(content), part)
        self._make_room(expected.sha256)

    def path(self, store: ArtifactStore, expected: Stored) -> Path:
        """The copy itself, which stays until others need the room. What nobody recorded the sha256 of is
        fetched each time. Raises ArtifactError.
        """
        with explained(f"keep a copy of {expected.uri!r}"):
            if not expected.sha256:
                return self._unknown(store, expected.uri)
            with self._locked(expected.sha256):
                found = self._copy(store, expected, None)
        self._make_room(expected.sha256)
        return found

    def _unknown(self, store: ArtifactStore, uri: str) -> Path:
        fresh = self._folder / f"{PART}{uuid4().hex}"
        try:
            stored = store.get(uri, fresh)
            with self._locked(stored.sha256):
                place = self._folder / stored.sha256
                if _seal(place) is None:
                    _begin(place)
                    fresh.rename(place / _CONTENT)
                    _close(place)
        finally:
            remove(fresh)
        self._make_room(stored.sha256)
        return place / _CONTENT

    def _copy(self, store: ArtifactStore, expected: Stored, progress: Progress | None) -> Path:
        place = self._folder / expected.sha256
        content = place / _CONTENT
        if _seal(place) is None:
            _begin(place)
            store.get(expected.uri, content, expected=expected, progress=progress)
            _close(place)
        os.utime(place)
        return content

    @contextmanager
    def _locked(self, sha256: str, *, wait: bool = True) -> Generator[bool]:
        """Whether it could be locked. A lock is shared by all whose digests begin alike."""
        folder = self._folder / _LOCKS
        folder.mkdir(parents=True, exist_ok=True)
        handle = os.open(folder / sha256[:2], os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o600)
        try:
            try:
                fcntl.flock(handle, fcntl.LOCK_EX | (0 if wait else fcntl.LOCK_NB))
                locked = True
            except BlockingIOError:
                locked = False
            yield locked
        finally:
            os.close(handle)

    def _make_room(self, keep: str) -> None:
        """Whoever is using a copy at this moment keeps it; what cannot go now goes the next time."""
        with suppress(OSError):
            places = [one for one in os.scandir(self._folder) if one.name not in (_LOCKS, keep)]
            ages = sorted(((one.stat().st_mtime, one.name) for one in places), reverse=True)
            room = self._limit - (_size(self._folder / keep) or 0)
            for _, name in ages:
                size = _size(self._folder / name)
                room -= size or 0
                if size is None or room < 0:
                    with self._locked(name, wait=False) as locked:
                        if locked:
                            shutil.rmtree(self._folder / name, ignore_errors=True)


def _link(content: Content, target: Path) -> None:
    """The same bytes under another name; a copy of them on a file system that cannot."""
    if not content.is_directory:
        _link_file(content.root, target)
        return
    target.mkdir()
    for name in content.directories:
        (target / name).mkdir(parents=True, exist_ok=True)
    links = {link.name for link in content.links}
    for name in content.files:
        if name not in links:
            _link_file(content.path(name), target / name)
    for link in content.links:
        (target / link.name).symlink_to(link.target)


def _link_file(source: Path, target: Path) -> None:
    try:
        os.link(source, target)
    except OSError:
        shutil.copyfile(source, target)


def _begin(place: Path) -> None:
    if place.exists():
        shutil.rmtree(place)
    place.mkdir(parents=True)


def _close(place: Path) -> None:
    """Forbids writing to the files, and says how each is; what is written to all the same is another then."""
    content = examine(place / _CONTENT)
    files: dict[str, list[int]] = {}
    for name in content.files:
        path = content.path(name)
        os.chmod(path, stat.S_IMODE(os.stat(path).st_mode) & 0o555)
        found = os.stat(path)
        files[name] = [found.st_size, found.st_mtime_ns]
    (place / _SEAL).write_text(json.dumps({"boot": _boot(), "files": files}), "utf-8")


def _seal(place: Path) -> dict[str, list[int]] | None:
    """The files with size and time of a copy that is whole and as it was made."""
    try:
        found = json.loads((place / _SEAL).read_text("utf-8"))
        files = cast("dict[str, list[int]]", found["files"])
        if found["boot"] != _boot():
            return None
        for name, known in files.items():
            now = os.stat(place / _CONTENT / name if name else place / _CONTENT)
            if [now.st_size, now.st_mtime_ns] != known:
                return None
    except (OSError, ValueError, KeyError):
        return None
    return files


def _size(place: Path) -> int | None:
    """None for what is no whole copy."""
    try:
        found = json.loads((place / _SEAL).read_text("utf-8"))
        return sum(size for size, _ in found["files"].values())
    except (OSError, ValueError, KeyError):
        return None


def _boot() -> str:
    """Tells this run of the machine from others: what was written before may never have reached the disk."""
    try:
        return _BOOT.read_text().strip()
    except OSError:
        return ""

"""Artifacts in the local file system, or one mounted there."""

from __future__ import annotations

import errno
import hashlib
import os
import stat
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path
from uuid import uuid4

from penstock.artifacts.arrival import arriving, existing, remove, sync
from penstock.artifacts.content import (
    CHUNK,
    PART,
    Content,
    check,
    describe,
    digest_file,
    examine,
    of_listing,
)
from penstock.artifacts.error import ArtifactError, explained
from penstock.artifacts.place import path_of, under
from penstock.artifacts.protocol import Progress, Stored

_WRITE_BITS = stat.S_IWUSR | stat.S_IWGRP | stat.S_IWOTH


class FileArtifactStore:
    """`file://` URIs and plain absolute paths.

    What is stored is on the disk (fsync) before it is visible, and read-only from then on. An unfinished put
    leaves at most a sibling whose name begins with `.penstock-put-`; nothing here ever shows it.
    With `root`, nothing outside of it is written or deleted.
    """

    schemes: tuple[str, ...] = ("file",)

    def __init__(self, root: Path | None = None) -> None:
        self._root = root

    def put(self, source: Path, uri: str, *, move: bool = False, progress: Progress | None = None) -> Stored:
        target = self._writable(uri)
        with explained(f"store {str(source)!r} as {uri!r}"):
            if _same(source, target):
                stored = self._seal(source, uri)
                _told(progress, stored)
                return stored
            content = examine(existing(source))
            with arriving(target) as part:
                if move and not source.is_symlink() and _rename(source, part):
                    stored = _keep(replace(content, root=part), uri)
                else:
                    stored = _copy(content, part, uri, keep=True)
                    if move:
                        remove(source)
                _told(progress, stored)
            sync(target.parent)
            return stored

    def get(
        self, uri: str, target: Path, *, expected: Stored | None = None, progress: Progress | None = None
    ) -> Stored:
        source = path_of(uri)
        with explained(f"read the artifact {uri!r}"):
            content = examine(source)
            with arriving(target) as part:
                found = _copy(content, part, uri, keep=False)
                check(found, expected)
                _told(progress, found)
            return found

    def local(self, uri: str) -> Path | None:
        path = path_of(uri)
        return path if path.exists() else None

    def place(self, uri: str) -> Path | None:
        return self._writable(uri)

    def stat(self, uri: str) -> Stored | None:
        path = path_of(uri)
        try:
            content = examine(path)
            size = sum(os.stat(content.path(name)).st_size for name in content.files)
        except OSError:
            return None
        return Stored(uri, size, "", content.is_directory, len(content.files))

    def list(self, uri: str) -> Iterator[str]:
        path = path_of(uri)
        if not path.exists():
            return
        with explained(f"list {uri!r}"):
            names = examine(path).files
        yield from (under(uri, name) for name in names)

    def delete(self, uri: str) -> int:
        path = self._writable(uri)
        if not os.path.lexists(path):
            return 0
        with explained(f"delete {uri!r}"):
            count = (
                sum(len(files) for _, _, files in os.walk(path))
                if path.is_dir() and not path.is_symlink()
                else 1
            )
            remove(path)
        return count

    def presign(self, uri: str, seconds: int) -> str:
        raise ArtifactError(
            f"{uri!r} is a file of this machine and can have no URL; only artifacts in S3 can, so set "
            "PENSTOCK_PIPELINE_ROOT to s3://bucket/prefix"
        )

    def check(self, uri: str) -> None:
        self._writable(uri)

    def _writable(self, uri: str) -> Path:
        path = path_of(uri)
        if path == Path("/"):
            raise ArtifactError(
                f"{uri!r} is the root of the file system; artifacts need a place below a folder"
            )
        if self._root is not None and not path.is_relative_to(self._root):
            raise ArtifactError(f"{uri!r} lies outside of the artifact folder {str(self._root)!r}")
        return path

    def _seal(self, path: Path, uri: str) -> Stored:
        """Keep what was written in its final place. Calling it again changes nothing."""
        if path.is_symlink():
            content = examine(path)
            part = path.parent / f"{PART}{uuid4().hex}"
            try:
                stored = _copy(content, part, uri, keep=True)
                os.unlink(path)
                os.rename(part, path)
            except BaseException:
                remove(part)
                raise
            return stored
        stored = _keep(examine(path), uri)
        sync(path.parent)
        return stored


def _told(progress: Progress | None, stored: Stored) -> None:
    if progress is not None:
        progress(stored.size, stored.size)


def _keep(content: Content, uri: str) -> Stored:
    """Make relative the links that need it, write through to the disk, forbid writing."""
    for link in content.links:
        if link.rewritten:
            _relink(content.path(link.name), link.target)
    links = {link.name for link in content.links}
    stored = describe(content, uri)
    for name in content.files:
        if name not in links:
            path = content.path(name)
            sync(path)
            _forbid_writing(path)
    for name in content.directories:
        sync(content.path(name))
    if content.is_directory:
        sync(content.root)
    return stored


def _copy(content: Content, target: Path, uri: str, *, keep: bool) -> Stored:
    if not content.is_directory:
        return Stored(uri, *_copy_file(content.root, target, keep=keep))
    target.mkdir()
    for name in content.directories:
        (target / name).mkdir(parents=True, exist_ok=True)
    links = {link.name for link in content.links}
    listing: list[tuple[str, int, str]] = []
    for name in content.files:
        if name in links:
            listing.append((name, *digest_file(content.path(name))))
        else:
            listing.append((name, *_copy_file(content.path(name), target / name, keep=keep)))
    for link in content.links:
        os.symlink(link.target, target / link.name)
    if keep:
        for name in (*content.directories, ""):
            sync(target / name)
    return of_listing(uri, listing)


def _copy_file(source: Path, target: Path, *, keep: bool) -> tuple[int, str]:
    digest = hashlib.sha256()
    size = 0
    with source.open("rb", buffering=0) as reading, target.open("xb", buffering=0) as writing:
        mode = stat.S_IMODE(os.fstat(reading.fileno()).st_mode)
        while chunk := reading.read(CHUNK):
            digest.update(chunk)
            size += len(chunk)
            view = memoryview(chunk)
            while view:
                view = view[writing.write(view) :]
        os.fchmod(writing.fileno(), mode & ~_WRITE_BITS if keep else mode | stat.S_IWUSR | stat.S_IRUSR)
        if keep:
            os.fsync(writing.fileno())
    return size, digest.hexdigest()


def _rename(source: Path, target: Path) -> bool:
    """False where only a copy can move it: another file system, or a mount in between."""
    try:
        os.rename(source, target)
    except OSError as problem:
        if problem.errno in (errno.EXDEV, errno.EBUSY, errno.EPERM, errno.EACCES):
            return False
        raise
    return True


def _relink(path: Path, target: str) -> None:
    part = path.parent / f"{PART}{uuid4().hex}"
    os.symlink(target, part)
    os.replace(part, path)


def _forbid_writing(path: Path) -> None:
    mode = stat.S_IMODE(os.stat(path).st_mode)
    if mode & _WRITE_BITS:
        os.chmod(path, mode & ~_WRITE_BITS)


def _same(source: Path, target: Path) -> bool:
    return source == target or (
        os.path.lexists(target) and os.path.lexists(source) and _identity(source) == _identity(target)
    )


def _identity(path: Path) -> tuple[int, int]:
    found = os.lstat(path)
    return found.st_dev, found.st_ino

"""Artifacts in the local file system, or one mounted there."""

from __future__ import annotations

import errno
import hashlib
import os
import shutil
import stat
from collections.abc import Iterator
from pathlib import Path
from uuid import uuid4

from penstock.artifacts.content import CHUNK, PART, Content, describe, digest_file, examine, of_listing
from penstock.artifacts.error import ArtifactError, explained
from penstock.artifacts.place import path_of, under
from penstock.artifacts.protocol import Stored

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

    def put(self, source: Path, uri: str, *, move: bool = False) -> Stored:
        target = self._writable(uri)
        with explained(f"store {str(source)!r} as {uri!r}"):
            if _same(source, target):
                return self._seal(source, uri)
            if not os.path.lexists(source):
                raise FileNotFoundError(errno.ENOENT, os.strerror(errno.ENOENT), str(source))
            content = examine(source)
            _make_parents(target)
            part = target.parent / f"{PART}{uuid4().hex}"
            try:
                if move and not source.is_symlink() and _rename(source, part):
                    stored = _keep(_moved(content, part), uri)
                else:
                    stored = _copy(content, part, uri, keep=True)
                    if move:
                        _remove(source)
                _swap(part, target)
            except BaseException:
                _remove(part)
                raise
            return stored

    def get(self, uri: str, target: Path, *, expected: Stored | None = None) -> Stored:
        source = path_of(uri)
        with explained(f"read the artifact {uri!r}"):
            content = examine(source)
            _make_parents(target)
            part = target.parent / f"{PART}{uuid4().hex}"
            try:
                found = _copy(content, part, uri, keep=False)
                check(found, expected)
                _swap(part, target)
            except BaseException:
                _remove(part)
                raise
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
            _remove(path)
        return count

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
                _remove(part)
                raise
            return stored
        stored = _keep(examine(path), uri)
        _sync(path.parent)
        return stored


def check(found: Stored, expected: Stored | None) -> None:
    """Raises ArtifactError where content differs from what was recorded."""
    if expected is None:
        return
    if found.size != expected.size or (expected.sha256 and found.sha256 != expected.sha256):
        raise ArtifactError(
            f"the content of {found.uri!r} has changed since it was recorded: {found.size} bytes with sha256 "
            f"{found.sha256[:12]}, recorded were {expected.size} bytes with {expected.sha256[:12] or 'none'}"
        )


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
            _sync(path)
            _forbid_writing(path)
    for name in content.directories:
        _sync(content.path(name))
    if content.is_directory:
        _sync(content.root)
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
            _sync(target / name)
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


def _moved(content: Content, root: Path) -> Content:
    return Content(root, content.is_directory, content.files, content.directories, content.links)


def _rename(source: Path, target: Path) -> bool:
    """False where only a copy can move it: another file system, or a mount in between."""
    try:
        os.rename(source, target)
    except OSError as problem:
        if problem.errno in (errno.EXDEV, errno.EBUSY, errno.EPERM, errno.EACCES):
            return False
        raise
    return True


def _swap(part: Path, target: Path) -> None:
    """Make `part` visible as `target`, replacing what was there."""
    if target.is_dir() and not target.is_symlink():
        old = target.parent / f"{PART}{uuid4().hex}"
        os.rename(target, old)
        os.rename(part, target)
        _remove(old)
    elif part.is_dir() and os.path.lexists(target):
        os.unlink(target)
        os.rename(part, target)
    else:
        os.replace(part, target)
    _sync(target.parent)


def _make_parents(target: Path) -> None:
    """Another task may be removing empty directories at the same moment; hence the second try."""
    for last in (False, False, True):
        try:
            target.parent.mkdir(parents=True, exist_ok=True)
            return
        except FileNotFoundError:
            if last:
                raise


def _relink(path: Path, target: str) -> None:
    part = path.parent / f"{PART}{uuid4().hex}"
    os.symlink(target, part)
    os.replace(part, path)


def _forbid_writing(path: Path) -> None:
    mode = stat.S_IMODE(os.stat(path).st_mode)
    if mode & _WRITE_BITS:
        os.chmod(path, mode & ~_WRITE_BITS)


def _sync(path: Path) -> None:
    handle = os.open(path, os.O_RDONLY)
    try:
        os.fsync(handle)
    except OSError as problem:
        # Some network file systems cannot sync a directory; what can be done is done.
        if problem.errno not in (errno.EINVAL, errno.ENOTSUP, errno.EBADF):
            raise
    finally:
        os.close(handle)


def _same(source: Path, target: Path) -> bool:
    return source == target or (
        os.path.lexists(target) and os.path.lexists(source) and _identity(source) == _identity(target)
    )


def _identity(path: Path) -> tuple[int, int]:
    found = os.lstat(path)
    return found.st_dev, found.st_ino


def _remove(path: Path) -> None:
    if path.is_symlink() or not path.is_dir():
        path.unlink(missing_ok=True)
    else:
        shutil.rmtree(path)

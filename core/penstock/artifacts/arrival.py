"""Content that arrives at a place in the local file system: all of it at once, or nothing."""

from __future__ import annotations

import errno
import os
import shutil
from collections.abc import Generator
from contextlib import contextmanager
from pathlib import Path
from uuid import uuid4

from penstock.artifacts.content import PART


@contextmanager
def arriving(target: Path) -> Generator[Path]:
    """A place beside `target` to write to. It replaces `target` when the body ends well, and is removed when
    it does not. Raises OSError.
    """
    make_parents(target)
    part = target.parent / f"{PART}{uuid4().hex}"
    try:
        yield part
        _swap(part, target)
    except BaseException:
        remove(part)
        raise


def existing(source: Path) -> Path:
    """Raises FileNotFoundError, which names the source, where there is not even a link."""
    if not os.path.lexists(source):
        raise FileNotFoundError(errno.ENOENT, os.strerror(errno.ENOENT), str(source))
    return source


def make_parents(target: Path) -> None:
    """Another task may be removing empty directories at the same moment; hence the second try."""
    for last in (False, False, True):
        try:
            target.parent.mkdir(parents=True, exist_ok=True)
            return
        except FileNotFoundError:
            if last:
                raise


def remove(path: Path) -> None:
    if path.is_symlink() or not path.is_dir():
        path.unlink(missing_ok=True)
    else:
        shutil.rmtree(path)


def sync(path: Path) -> None:
    """Write through to the disk what is known of a file or directory."""
    handle = os.open(path, os.O_RDONLY)
    try:
        os.fsync(handle)
    except OSError as problem:
        # Some network file systems cannot sync a directory; what can be done is done.
        if problem.errno not in (errno.EINVAL, errno.ENOTSUP, errno.EBADF):
            raise
    finally:
        os.close(handle)


def _swap(part: Path, target: Path) -> None:
    """Make `part` visible as `target`, replacing what was there."""
    if target.is_dir() and not target.is_symlink():
        old = target.parent / f"{PART}{uuid4().hex}"
        os.rename(target, old)
        os.rename(part, target)
        remove(old)
    elif part.is_dir() and os.path.lexists(target):
        os.unlink(target)
        os.rename(part, target)
    else:
        os.replace(part, target)

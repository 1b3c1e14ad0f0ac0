"""What artifact stores raise."""

from __future__ import annotations

import errno
from collections.abc import Generator
from contextlib import contextmanager

from penstock.errors import TaskError


class ArtifactError(TaskError):
    """An artifact cannot be stored, read or named. One sentence."""


class AwayError(ArtifactError):
    """The service does not answer, or has too much to do: later it may."""


_CAUSES = {
    errno.ENOSPC: "the disk is full; free some space and run the task again",
    errno.EDQUOT: "the disk quota is used up; free some space and run the task again",
    errno.EACCES: "permission denied",
    errno.EPERM: "the system does not permit it",
    errno.EROFS: "the file system is read-only",
    errno.ENOENT: "there is no such file or directory",
    errno.ENAMETOOLONG: "the name is too long for the file system",
    errno.ENOTDIR: "a part of the path is a file, not a directory",
    errno.EISDIR: "it is a directory",
    errno.EIO: "the disk reports an input/output error",
}


def cause_of(problem: OSError) -> str:
    """The operating system's reason in words that say what to do where something can be done."""
    return _CAUSES.get(problem.errno or 0) or (problem.strerror or str(problem)).lower()


@contextmanager
def explained(action: str) -> Generator[None]:
    """Turns an OSError inside into `ArtifactError("cannot <action>: <cause>")`."""
    try:
        yield
    except OSError as problem:
        where = f" ({problem.filename!r})" if problem.filename else ""
        raise ArtifactError(f"cannot {action}: {cause_of(problem)}{where}") from problem

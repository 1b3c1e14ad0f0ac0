"""Who drives a run: a name that others read, and a lock in the home that tells whether its process still
lives.

Locks of the dead are swept by whoever comes next, those of this machine only: whether one of another machine
is held cannot be told on every file system. Who sweeps holds the lock as well, shared, and whoever takes one
looks afterwards whether its file is still there; so no lock that is just being taken is lost.
"""

from __future__ import annotations

import fcntl
import os
import socket
from contextlib import suppress
from dataclasses import dataclass, field
from pathlib import Path

from penstock.store import new_id

_HOME = "home"
"""The file with the home's id, which tells homes on one machine apart."""


@dataclass(slots=True)
class Owner:
    """One process for good. `name` is `<host>/<process id>/<home id>/<unique id>`; its lock goes with the
    process, however it ends.
    """

    folder: Path
    name: str = field(default="", init=False)
    _descriptor: int = field(default=-1, init=False)

    def __post_init__(self) -> None:
        unique = new_id()
        self.folder.mkdir(parents=True, exist_ok=True)
        self.name = f"{socket.gethostname()}/{os.getpid()}/{_made_home_id(self.folder)}/{unique}"
        _sweep(self.folder)
        path = _lock_of(self.name, self.folder)
        while self._descriptor < 0:
            descriptor = os.open(path, os.O_CREAT | os.O_RDWR | os.O_CLOEXEC, 0o600)
            fcntl.flock(descriptor, fcntl.LOCK_EX)
            if _is_at(descriptor, path):
                self._descriptor = descriptor
            else:
                os.close(descriptor)

    def close(self) -> None:
        if self._descriptor >= 0:
            _lock_of(self.name, self.folder).unlink(missing_ok=True)
            os.close(self._descriptor)
            self._descriptor = -1


def is_dead(name: str, folder: Path) -> bool:
    """Whether the owner of that name is known to be gone: it ran on this machine from this home, and nobody
    holds its lock. Of others only the end of their lease tells.
    """
    place = _place(name)
    if place is None or place != (socket.gethostname(), _home_id(folder)):
        return False
    try:
        descriptor = os.open(_lock_of(name, folder), os.O_RDWR | os.O_CLOEXEC)
    except FileNotFoundError:
        return True
    try:
        return _is_free(descriptor)
    finally:
        os.close(descriptor)


def share_home(one: str, other: str) -> bool:
    """Whether two owners see each other's attempts, and would adopt them."""
    return _place(one) is not None and _place(one) == _place(other)


def _place(name: str) -> tuple[str, str] | None:
    """Host and home id of an owner."""
    parts = name.split("/")
    return (parts[0], parts[2]) if len(parts) == 4 else None


def _home_id(folder: Path) -> str:
    """Empty where no owner has ever been."""
    try:
        return (folder / _HOME).read_text(encoding="ascii")
    except FileNotFoundError:
        return ""


def _made_home_id(folder: Path) -> str:
    found = _home_id(folder)
    if found:
        return found
    new = new_id()
    draft = folder / f"{new}.new"
    draft.write_text(new, encoding="ascii")
    with suppress(FileExistsError):
        os.link(draft, folder / _HOME)
    draft.unlink()
    return _home_id(folder)


def _lock_of(name: str, folder: Path) -> Path:
    return folder / f"{name.rpartition('/')[2]}{_ending(name.partition('/')[0])}"


def _ending(host: str) -> str:
    return f"@{host}.lock"


def _sweep(folder: Path) -> None:
    ending = _ending(socket.gethostname())
    for path in folder.iterdir():
        if not path.name.endswith(ending):
            continue
        try:
            descriptor = os.open(path, os.O_RDWR | os.O_CLOEXEC)
        except OSError:
            continue
        try:
            if _is_free(descriptor) and _is_at(descriptor, path):
                path.unlink(missing_ok=True)
        finally:
            os.close(descriptor)


def _is_free(descriptor: int) -> bool:
    """Whether nobody lives who holds the lock. Asking takes it, shared, so that several who ask at once do
    not take each other for the owner.
    """
    try:
        fcntl.flock(descriptor, fcntl.LOCK_SH | fcntl.LOCK_NB)
    except BlockingIOError:
        return False
    return True


def _is_at(descriptor: int, path: Path) -> bool:
    try:
        return os.path.samestat(os.fstat(descriptor), os.stat(path))
    except FileNotFoundError:
        return False

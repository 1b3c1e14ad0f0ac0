"""Who drives a run: a name that others read, and a lock on this machine that tells whether its process still
lives.
"""

from __future__ import annotations

import fcntl
import os
import socket
from dataclasses import dataclass, field
from pathlib import Path

from penstock.store import new_id


@dataclass(slots=True)
class Owner:
    """One process for good. `name` is `<host>/<process id>/<unique id>`; its lock goes with the process,
    however it ends.
    """

    folder: Path
    name: str = field(default="", init=False)
    _descriptor: int = field(default=-1, init=False)

    def __post_init__(self) -> None:
        unique = new_id()
        self.name = f"{socket.gethostname()}/{os.getpid()}/{unique}"
        self.folder.mkdir(parents=True, exist_ok=True)
        path = self.folder / f"{unique}.lock"
        self._descriptor = os.open(path, os.O_CREAT | os.O_RDWR | os.O_CLOEXEC, 0o600)
        fcntl.flock(self._descriptor, fcntl.LOCK_EX)

    def close(self) -> None:
        if self._descriptor >= 0:
            (self.folder / f"{self.name.rpartition('/')[2]}.lock").unlink(missing_ok=True)
            os.close(self._descriptor)
            self._descriptor = -1


def is_dead(name: str, folder: Path) -> bool:
    """Whether the owner of that name is known to be gone: it ran on this machine and nobody holds its
    lock.
    """
    host, unique = name.partition("/")[0], name.rpartition("/")[2]
    if host != socket.gethostname():
        return False
    try:
        descriptor = os.open(folder / f"{unique}.lock", os.O_RDWR | os.O_CLOEXEC)
    except FileNotFoundError:
        return True
    try:
        # Shared, so that several who ask at once do not take each other for the owner.
        fcntl.flock(descriptor, fcntl.LOCK_SH | fcntl.LOCK_NB)
    except BlockingIOError:
        return False
    finally:
        os.close(descriptor)
    return True

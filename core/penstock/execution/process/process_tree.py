"""All processes of an attempt: also those that left its process group, found by the mark in their
environment.

Linux has /proc and process file descriptors; elsewhere only the process group is known.
"""

from __future__ import annotations

import os
import select
import signal
import sys
import time
from collections.abc import Generator, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

MARK = "PENSTOCK_ATTEMPT"
"""The environment variable that every process of an attempt inherits; its value is AttemptFolder.mark."""

LINUX = sys.platform.startswith("linux")

_SHORT_SECONDS = 5.0
_ROUNDS = 20


@dataclass(frozen=True, slots=True)
class Found:
    pid: int
    name: str


@dataclass(frozen=True, slots=True)
class ProcessTree:
    """`leader` is the session and process group that the attempt was started as, `folder` its directory.

    `trusted` says that we saw the leader alive. Otherwise its id may have passed to others since, as after
    the machine was started again, and its group tells nothing.
    """

    mark: str
    leader: int
    folder: Path
    trusted: bool

    def signal(self, number: int) -> None:
        """To every process, a new one too as long as its group or its mark is the attempt's; to each once, as
        many take a second SIGTERM for impatience.
        """
        self._signal_group(number)
        for found in self.members():
            if not (self.trusted and _group(found.pid) == self.leader):
                self._signal(found.pid, number)

    def left_behind(self, seconds: float) -> list[Found]:
        """The processes that are still there after the leader has ended, `seconds` after it was started.

        For a short attempt only those are looked at that were started after its leader: process ids rise, and
        take longer than that to come round.
        """
        if not LINUX:
            exists = self.trusted and _group_exists(self.leader)
            return [Found(self.leader, "process group")] if exists else []
        newest = _newest_pid() if seconds < _SHORT_SECONDS else None
        return list(self.members(newest))

    def members(self, newest: int | None = None) -> Iterator[Found]:
        """Without `newest` all, else only those with ids from the leader's to that one."""
        if not LINUX:
            return
        own = os.getpid()
        for pid in _pids():
            if newest is not None and not _between(self.leader, pid, newest):
                continue
            if pid != own and self._is_member(pid):
                yield Found(pid, _name(pid))

    def kill(self) -> None:
        """SIGKILL until nothing is left, and wait until it is gone (two seconds at most)."""
        deadline = time.monotonic() + 2.0
        for _ in range(_ROUNDS):
            self._signal_group(signal.SIGKILL)
            pids = [found.pid for found in self.members()]
            if not pids:
                return
            for pid in pids:
                self._signal(pid, signal.SIGKILL)
                with _handle(pid) as handle:
                    if handle is not None:
                        wait_for(handle, max(0.0, deadline - time.monotonic()))

    def _signal_group(self, number: int) -> None:
        if self.trusted:
            try:
                os.killpg(self.leader, number)
            except (ProcessLookupError, PermissionError):
                return

    def _signal(self, pid: int, number: int) -> None:
        with _handle(pid) as handle:
            # Asked again with the handle open: the id cannot have passed to another process in between.
            if handle is not None and self._is_member(pid):
                try:
                    signal.pidfd_send_signal(handle, number)
                except (ProcessLookupError, PermissionError):
                    return

    def _is_member(self, pid: int) -> bool:
        try:
            environment = Path(f"/proc/{pid}/environ").read_bytes()
        except OSError:
            return False
        if f"\0{MARK}={self.mark}\0".encode() in b"\0" + environment + b"\0":
            return True
        try:
            # After the name in parentheses: state, parent, group, session.
            fields = Path(f"/proc/{pid}/stat").read_text(errors="replace").rpartition(")")[2].split()
        except OSError:
            return False
        if fields[0] in "ZX":
            return False
        return (self.trusted and str(self.leader) in fields[2:4]) or self._writes_here(pid)

    def _writes_here(self, pid: int) -> bool:
        """A process that has emptied its environment still has our log, or works in our directory."""
        prefix = f"{self.folder}/"
        for link in ("cwd", "fd/1", "fd/2"):
            try:
                if os.readlink(f"/proc/{pid}/{link}").startswith(prefix):
                    return True
            except OSError:
                continue
        return False


def is_alive(mark: str, leader: int) -> bool:
    """Whether `leader` is a live process that carries the mark (not another that got its id)."""
    try:
        environment = Path(f"/proc/{leader}/environ").read_bytes()
    except OSError:
        return False
    return f"\0{MARK}={mark}\0".encode() in b"\0" + environment + b"\0"


def open_process(pid: int) -> int | None:
    """A file descriptor that becomes readable when the process ends; None where that cannot be had."""
    try:
        return os.pidfd_open(pid)
    except (AttributeError, OSError):
        return None


def wait_for(handle: int, timeout: float | None) -> bool:
    """Whether the process of `open_process` ended within `timeout` seconds."""
    poll = select.poll()
    poll.register(handle, select.POLLIN)
    return bool(poll.poll(None if timeout is None else max(0.0, timeout) * 1000))


@contextmanager
def _handle(pid: int) -> Generator[int | None]:
    handle = open_process(pid)
    try:
        yield handle
    finally:
        if handle is not None:
            os.close(handle)


def _pids() -> list[int]:
    return [int(name) for name in os.listdir("/proc") if name.isdigit()]


def _newest_pid() -> int | None:
    try:
        return int(Path("/proc/loadavg").read_text().rsplit(" ", 1)[1])
    except (OSError, ValueError, IndexError):
        return None


def _between(first: int, pid: int, last: int) -> bool:
    """In the order in which ids are given out, which starts again from the bottom."""
    return first <= pid <= last if first <= last else pid >= first or pid <= last


def _name(pid: int) -> str:
    try:
        return Path(f"/proc/{pid}/comm").read_text(errors="replace").strip()
    except OSError:
        return "?"


def _group(pid: int) -> int | None:
    try:
        return os.getpgid(pid)
    except ProcessLookupError:
        return None


def _group_exists(leader: int) -> bool:
    try:
        os.killpg(leader, 0)
    except ProcessLookupError:
        return False
    except PermissionError:
        return True
    return True

"""A machine of its own for a scenario: what runs on it can be watched, stopped, and killed as a whole."""

from __future__ import annotations

import ctypes
import os
import select
import signal
import sqlite3
import struct
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from contextlib import closing, contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Self

from tests.faults import checker
from tests.faults.records import records_of

PATIENCE = 60.0
"""Seconds after which a scenario that waits for something is broken."""

KILLED = -signal.SIGKILL

_LIBC = ctypes.CDLL(None, use_errno=True)
_PR_SET_CHILD_SUBREAPER = 36
_IN_MODIFY, _IN_CREATE, _IN_MOVED_TO = 0x2, 0x100, 0x80
_EVENT = struct.Struct("iIII")


class Watch:
    """What is written in some folders, told as it happens."""

    def __init__(self, *folders: Path) -> None:
        self._handle = _LIBC.inotify_init1(os.O_CLOEXEC | os.O_NONBLOCK)
        if self._handle < 0:
            raise OSError(ctypes.get_errno(), "inotify_init1")
        for folder in folders:
            mask = _IN_MODIFY | _IN_CREATE | _IN_MOVED_TO
            if _LIBC.inotify_add_watch(self._handle, os.fsencode(folder), mask) < 0:
                raise OSError(ctypes.get_errno(), str(folder))

    def fileno(self) -> int:
        return self._handle

    def names(self) -> list[str]:
        """Of the files that were written since the last time; once for each time that could be told apart."""
        found: list[str] = []
        while True:
            try:
                data = os.read(self._handle, 1 << 16)
            except BlockingIOError:
                return found
            while data:
                *_, length = _EVENT.unpack_from(data)
                name, data = data[_EVENT.size : _EVENT.size + length], data[_EVENT.size + length :]
                found.append(os.fsdecode(name.rstrip(b"\0")))

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *error: object) -> None:
        os.close(self._handle)


@dataclass
class Engine:
    """One `penstock` process."""

    process: subprocess.Popen[bytes]
    out: Path
    err: Path

    @property
    def pid(self) -> int:
        return self.process.pid

    def signal(self, number: int) -> None:
        self.process.send_signal(number)

    def wait(self) -> int:
        return self.process.wait(PATIENCE)

    def kill(self) -> int:
        self.process.kill()
        return self.wait()

    @property
    def printed(self) -> list[str]:
        return self.out.read_text().splitlines()

    @property
    def said(self) -> list[str]:
        """The lines on its standard error."""
        return self.err.read_text().splitlines()


@dataclass
class Machine:
    """`folder` holds the home and the side-effect file; `pipeline` names the one whose new run is judged."""

    folder: Path
    pipeline: str
    environment: dict[str, str] = field(default_factory=dict[str, str])
    engines: list[Engine] = field(default_factory=list[Engine])
    servers: Callable[[], set[int]] = set
    """The first processes of servers that may be started meanwhile, which are no business of this machine."""
    _before: set[int] = field(default_factory=set[int])
    _earlier: set[str] = field(default_factory=set[str])
    _dead: set[str] = field(default_factory=set[str])

    @property
    def home(self) -> Path:
        return self.folder / "home"

    @property
    def watched(self) -> Path:
        return self.folder / "watched"

    @property
    def side(self) -> Path:
        return self.watched / "side"

    def make(self) -> None:
        for folder in (self.home, self.watched):
            folder.mkdir(exist_ok=True)
        self.side.touch()

    def start(self, *arguments: str, failpoint: str = "", output: int | None = None) -> Engine:
        """`output` takes its standard output, in place of the file."""
        number = len(self.engines)
        out, err = self.folder / f"{number}.out", self.folder / f"{number}.err"
        environment = {
            **{name: value for name, value in os.environ.items() if not name.startswith("PENSTOCK_")},
            "PENSTOCK_HOME": str(self.home),
            **self.environment,
        }
        if failpoint:
            environment["PENSTOCK_FAILPOINT"] = failpoint
        with out.open("wb") as stdout, err.open("wb") as stderr:
            process = subprocess.Popen(
                [sys.executable, "-m", "penstock", *arguments],
                stdin=subprocess.DEVNULL,
                stdout=stdout if output is None else output,
                stderr=stderr,
                env=environment,
                cwd=self.folder,
                start_new_session=True,
            )
        engine = Engine(process, out, err)
        self.engines.append(engine)
        return engine

    def run(self, document: Path, *arguments: str, failpoint: str = "") -> Engine:
        side = f"side={self.side}"
        return self.start("run", str(document), "-p", side, "--json", *arguments, failpoint=failpoint)

    def resume(self, run_id: str, failpoint: str = "") -> Engine:
        return self.start("runs", "resume", run_id, "--json", failpoint=failpoint)

    def run_id(self) -> str:
        """The one run of the pipeline; empty before it is recorded."""
        found = list(self.runs())
        assert len(found) < 2, f"{len(found)} runs are recorded"
        return found[0] if found else ""

    def runs(self) -> dict[str, str]:
        found = checker.runs(self.home, self.pipeline)
        return {run_id: state for run_id, state in found.items() if run_id not in self._earlier}

    def state(self, run_id: str) -> str:
        return self.runs()[run_id]

    def owner(self, run_id: str) -> str:
        """Of the run's lease."""
        query = "SELECT owner FROM run_heads WHERE run_id = ?"
        return records_of(self.home).rows(query, run_id)[0]["owner"] or ""

    def changes(self) -> int:
        """How often tasks of the run have changed."""
        run_id = self.run_id()
        if not run_id:
            return 0
        query = "SELECT revision FROM run_heads WHERE run_id = ?"
        return int(records_of(self.home).rows(query, run_id)[0]["revision"])

    def change(self, statement: str, *values: str | float) -> None:
        """Change the database behind penstock's back."""
        with closing(sqlite3.connect(self.home / "penstock.db", timeout=30)) as connection, connection:
            connection.execute(statement, values)

    def is_locked(self) -> bool:
        """Whether somebody is writing to the database."""
        place = self.home / "penstock.db"
        with closing(sqlite3.connect(place, timeout=0, isolation_level=None)) as connection:
            try:
                connection.execute("BEGIN IMMEDIATE")
            except sqlite3.OperationalError:
                return True
            connection.execute("ROLLBACK")
            return False

    @contextmanager
    def watch(self) -> Iterator[Watch]:
        with Watch(self.home, self.watched, self.folder) as watch:
            yield watch

    def until(self, condition: Callable[[], bool], engine: Engine, watch: Watch) -> bool:
        """Wait for the condition, asked again whenever a file changes. False when the engine ends before."""
        return self.reached(lambda names: condition(), engine, watch)

    def reached(self, condition: Callable[[list[str]], bool], engine: Engine, watch: Watch) -> bool:
        """As `until`, for a condition on the names of the files that changed."""
        handle = os.pidfd_open(engine.pid) if engine.process.poll() is None else None
        deadline = time.monotonic() + PATIENCE
        try:
            while True:
                if condition(watch.names()):
                    return True
                if handle is None or engine.process.poll() is not None:
                    return False
                poll = select.poll()
                poll.register(watch, select.POLLIN)
                poll.register(handle, select.POLLIN)
                if not poll.poll(max(0.0, deadline - time.monotonic()) * 1000):
                    raise TimeoutError(f"nothing happened for {PATIENCE:g} s")
        finally:
            if handle is not None:
                os.close(handle)

    def lines(self, phase: str = "") -> int:
        """How many lines the side-effect file has (of one phase)."""
        return sum(1 for line in checker.side_effects(self.side) if phase in ("", line.phase))

    def in_flight(self) -> int:
        """Attempts that have started and not finished, without those that went down with the machine."""
        return len(checker.in_flight(self.side) - self._dead)

    def tasks(self) -> list[int]:
        """Every live process on this machine but the engines: those are what the engines started."""
        known = self._before | {engine.pid for engine in self.engines}
        alive = (one for one in self._descendants() if one.state not in "ZX")
        return [one.pid for one in alive if one.pid not in known]

    def signal_tasks(self, number: int) -> None:
        for pid in self.tasks():
            try:
                os.kill(pid, number)
            except ProcessLookupError:
                continue

    def crash(self) -> int:
        """Everything is gone at once, as when the power fails; how many attempts were in flight."""
        for engine in self.engines:
            if engine.process.poll() is None:
                engine.kill()
        # Nobody is to see another one die.
        held: set[int] = set()
        while held != (held := set(self.tasks())):
            self.signal_tasks(signal.SIGSTOP)
        flying = self.in_flight()
        while self.tasks():
            self.signal_tasks(signal.SIGKILL)
            self.reap()
        self._dead |= checker.in_flight(self.side)
        return flying

    def reap(self) -> None:
        """Bury the dead that came back to this process, as init does."""
        known = self._before | {engine.pid for engine in self.engines}
        for one in self._descendants():
            if one.parent == os.getpid() and one.pid not in known:
                try:
                    os.waitpid(one.pid, os.WNOHANG)
                except ChildProcessError:
                    continue

    def _descendants(self) -> list[_Process]:
        return _descendants(os.getpid(), self.servers())

    def __enter__(self) -> Self:
        self._before = {one.pid for one in self._descendants()}
        if _LIBC.prctl(_PR_SET_CHILD_SUBREAPER, 1, 0, 0, 0) != 0:
            raise OSError(ctypes.get_errno(), "prctl")
        self.make()
        self._earlier = set(checker.runs(self.home, self.pipeline))
        return self

    def __exit__(self, *error: object) -> None:
        self.crash()
        self.reap()
        _LIBC.prctl(_PR_SET_CHILD_SUBREAPER, 0, 0, 0, 0)


def first_to_end(one: Engine, other: Engine) -> tuple[Engine, Engine]:
    """(the one that ends first, the one that is left)."""
    handles = [os.pidfd_open(engine.pid) for engine in (one, other)]
    try:
        poll = select.poll()
        for handle in handles:
            poll.register(handle, select.POLLIN)
        found = poll.poll(PATIENCE * 1000)
        assert found, f"neither ended in {PATIENCE:g} s"
        return (one, other) if found[0][0] == handles[0] else (other, one)
    finally:
        for handle in handles:
            os.close(handle)


@dataclass(frozen=True)
class _Process:
    pid: int
    parent: int
    state: str


def _processes() -> list[_Process]:
    found: list[_Process] = []
    for name in os.listdir("/proc"):
        if not name.isdigit():
            continue
        try:
            # After the name in parentheses: state, parent.
            fields = Path(f"/proc/{name}/stat").read_text(errors="replace").rpartition(")")[2].split()
        except OSError:
            continue
        found.append(_Process(int(name), int(fields[1]), fields[0]))
    return found


def _descendants(pid: int, but: set[int]) -> list[_Process]:
    """All processes below that one, without those and what is below them."""
    below: dict[int, list[_Process]] = {}
    for one in _processes():
        below.setdefault(one.parent, []).append(one)
    found: list[_Process] = []
    todo = [pid]
    while todo:
        new = [one for one in below.get(todo.pop(), []) if one.pid not in but]
        found += new
        todo += [one.pid for one in new]
    return found

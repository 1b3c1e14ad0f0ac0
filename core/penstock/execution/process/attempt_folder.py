"""The private directory of an attempt: all that is known of it while no engine looks, and after it was
killed.
"""

from __future__ import annotations

import fcntl
import hashlib
import json
import os
import re
import shutil
import time
from collections.abc import Generator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import cast
from urllib.parse import quote

from penstock.errors import PenstockError
from penstock.execution.manifest import Outcome, OutputManifest
from penstock.execution.order import LaunchOrder
from penstock.model import JsonObject
from penstock.model.codec import values_to_json

_POLL_SECONDS = 0.002
_ID = re.compile(r"[A-Za-z0-9_][A-Za-z0-9._-]{0,199}", re.ASCII)


@dataclass(frozen=True, slots=True)
class Launched:
    """What was decided at the start and is needed at the end, maybe by another engine.

    `order` is the digest of what was ordered. `tmp` is the folder behind a private /tmp, `shared` its
    exceptions. `secrets` names what it was given.
    """

    order: str
    notes: Mapping[str, str] = field(default_factory=dict[str, str])
    tmp: str = ""
    shared: tuple[str, ...] = ()
    temporary: str = ""
    secrets: tuple[str, ...] = ()


@dataclass(frozen=True, slots=True)
class AttemptFolder:
    """`<home>/attempts/<run id>/<attempt id>/`.

    - `lock` is held (flock) by the attempt's processes as long as it runs;
    - `pid` is the leader of its session, written by itself before anything else;
    - `log` is its output, which comes through `log.pipe` where there are secrets to mask;
    - `exit` is its exit code, `stop` why it was asked to end, `left` what it left behind, in a sentence;
    - `launched.json` and `manifest.json` are Launched and the OutputManifest;
    - `work/` (its home, and where it runs), `tmp/`, `inputs/`, `outputs/` and `venv/` are for the task.
    """

    path: Path

    @staticmethod
    def of(home: Path, run_id: str, attempt_id: str) -> AttemptFolder:
        """Raises PenstockError for ids that could lead out of the home."""
        for name in (run_id, attempt_id):
            if not _ID.fullmatch(name):
                raise PenstockError(
                    f"{name!r} cannot name a directory; ids have letters, digits, '-', '_' and '.' only"
                )
        return AttemptFolder(home / "attempts" / run_id / attempt_id)

    @property
    def mark(self) -> str:
        """Tells this attempt's processes from all others, by whatever path the directory was reached."""
        return f"{self.path.name}@{self.path.stat().st_ino}"

    @property
    def log(self) -> Path:
        return self.path / "log"

    @property
    def pipe(self) -> Path:
        return self.path / "log.pipe"

    def await_log(self, timeout: float) -> bool:
        """Whether all that came through the pipe is in the log, within `timeout` seconds."""
        if not self.pipe.exists():
            return True
        until = time.monotonic() + timeout
        with self.log.open("rb") as log:
            while True:
                try:
                    fcntl.flock(log, fcntl.LOCK_SH | fcntl.LOCK_NB)
                except BlockingIOError:
                    if time.monotonic() >= until:
                        return False
                    time.sleep(_POLL_SECONDS)
                else:
                    return True

    @property
    def work(self) -> Path:
        return self.path / "work"

    @property
    def tmp(self) -> Path:
        return self.path / "tmp"

    @property
    def inputs(self) -> Path:
        return self.path / "inputs"

    @property
    def outputs(self) -> Path:
        return self.path / "outputs"

    @property
    def executor_output(self) -> Path:
        """Where the executor output is kept once it was taken out of the task's own root."""
        return self.path / "executor_output.json"

    def output_parameter(self, name: str) -> Path:
        return self.outputs / "parameters" / file_name(name)

    def create(self) -> None:
        """Raises PenstockError, naming the home, where nothing can be written."""
        try:
            self.path.parent.mkdir(parents=True, exist_ok=True)
            try:
                self.path.mkdir(mode=0o700)
            except FileExistsError:
                return
        except OSError as problem:
            raise PenstockError(
                f"cannot make the attempt's directory {str(self.path)!r}: {problem.strerror}; "
                "set PENSTOCK_HOME to a folder that can be written"
            ) from problem

    def make_rooms(self) -> None:
        """The directories that every task gets. Raises OSError."""
        self.work.mkdir(exist_ok=True)
        self.tmp.mkdir(exist_ok=True)
        self.tmp.chmod(0o1777)

    @property
    def has_rooms(self) -> bool:
        return any(self._rooms())

    def clear_rooms(self) -> None:
        """Remove what only the task itself needed."""
        for room in self._rooms():
            try:
                os.rmdir(room)
            except OSError:
                shutil.rmtree(room, ignore_errors=True)

    def _rooms(self) -> list[str]:
        try:
            with os.scandir(self.path) as entries:
                return [entry.path for entry in entries if entry.is_dir(follow_symlinks=False)]
        except OSError:
            return []

    def clear_secrets(self) -> None:
        """Remove whatever an ended attempt that was given secrets may have written them into."""
        self.clear_rooms()
        self.executor_output.unlink(missing_ok=True)

    def try_lock(self) -> int | None:
        """The lock's file descriptor, locked; None when a process of the attempt, or a starting engine, has
        it.
        """
        handle = os.open(self.path / "lock", os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o600)
        try:
            fcntl.flock(handle, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            os.close(handle)
            return None
        return handle

    @contextmanager
    def staging(self) -> Generator[None]:
        """One engine at a time stages out."""
        handle = os.open(self.path / "staging", os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o600)
        try:
            fcntl.flock(handle, fcntl.LOCK_EX)
            yield
        finally:
            os.close(handle)

    @property
    def leader(self) -> int | None:
        text = self._read("pid")
        return int(text) if text.endswith("\n") and text.strip().isdigit() else None

    @property
    def started_at(self) -> float | None:
        return self._time("pid")

    @property
    def ended_at(self) -> float | None:
        return self._time("exit")

    @property
    def exit_code(self) -> int | None:
        """None while the process runs, or when it was killed before it could write it."""
        text = self._read("exit")
        return int(text) if text.endswith("\n") and text.strip().isdigit() else None

    @property
    def stopped(self) -> Outcome | None:
        """CANCELED when the attempt was asked to end, FAILED when its time was up."""
        text = self._read("stop").strip()
        return Outcome(text) if text in (Outcome.CANCELED, Outcome.FAILED) else None

    @property
    def left(self) -> str:
        return self._read("left")

    def mark_left(self, sentence: str) -> None:
        if not self.left:
            self._write("left", sentence)

    def mark_stopped(self, outcome: Outcome) -> None:
        if self.stopped is None:
            self._write("stop", outcome.value)

    @property
    def launched(self) -> Launched | None:
        found = self._read_json("launched.json")
        if found is None:
            return None
        return Launched(
            order=cast("str", found["order"]),
            notes=cast("dict[str, str]", found["notes"]),
            tmp=cast("str", found["tmp"]),
            shared=tuple(cast("list[str]", found["shared"])),
            temporary=cast("str", found["temporary"]),
            secrets=tuple(cast("list[str]", found.get("secrets", []))),
        )

    def write_launched(self, launched: Launched) -> None:
        self._write(
            "launched.json",
            json.dumps(
                {
                    "order": launched.order,
                    "notes": dict(launched.notes),
                    "tmp": launched.tmp,
                    "shared": list(launched.shared),
                    "temporary": launched.temporary,
                    "secrets": list(launched.secrets),
                }
            ),
        )

    @property
    def manifest(self) -> OutputManifest | None:
        found = self._read_json("manifest.json")
        return None if found is None else OutputManifest.from_json(found)

    def write_manifest(self, manifest: OutputManifest) -> None:
        self._write("manifest.json", json.dumps(manifest.to_json()))

    def note(self, sentence: str) -> None:
        """A line of ours in the attempt's log; not being able to write it is no failure."""
        self.write_line(f"penstock: {sentence}")

    def write_line(self, line: str) -> None:
        try:
            with self.log.open("a", encoding="utf-8", errors="replace") as log:
                log.write(f"{line}\n")
        except OSError:
            return

    def _read(self, name: str) -> str:
        try:
            return (self.path / name).read_text(errors="replace")
        except OSError:
            return ""

    def _read_json(self, name: str) -> JsonObject | None:
        """None too for a file that the machine going down left empty."""
        try:
            found: object = json.loads(self._read(name))
        except ValueError:
            return None
        return cast("JsonObject", found) if isinstance(found, dict) else None

    def _write(self, name: str, text: str) -> None:
        """Whole or not at all."""
        part = self.path / f".{name}.{os.getpid()}.part"
        try:
            part.write_text(text, encoding="utf-8")
            part.replace(self.path / name)
        except BaseException:
            part.unlink(missing_ok=True)
            raise

    def _time(self, name: str) -> float | None:
        try:
            return (self.path / name).stat().st_mtime
        except OSError:
            return None


def file_name(name: str) -> str:
    """A name from a pipeline as one part of a path: `a/b` becomes `a%2Fb`, `..` becomes `%2E%2E`."""
    quoted = quote(name, safe="")
    if not quoted.strip("."):
        quoted = quoted.replace(".", "%2E")
    return (
        quoted if len(quoted) <= 200 else f"{quoted[:150]}-{hashlib.sha256(name.encode()).hexdigest()[:16]}"
    )


def order_digest(order: LaunchOrder) -> str:
    """What must be the same for an attempt to be adopted: task, component's executor and inputs."""
    text = json.dumps(
        [order.run.run_id, order.path, repr(order.executor), values_to_json(order.inputs)], sort_keys=True
    )
    return hashlib.sha256(text.encode("utf-8", "surrogatepass")).hexdigest()

"""What a person, or a program, sees while a run goes on."""

from __future__ import annotations

import json
import threading
import time
from collections.abc import Callable
from datetime import datetime
from types import TracebackType
from typing import Protocol, Self

from penstock.execution.result import Run
from penstock.model import ROOT, JsonObject, Reason, State, TaskRun
from penstock.planner.settle import CONTAINERS


class Progress(Protocol):
    """Told of every change; used as a context around the run."""

    def begin(self, run_id: str, name: str) -> None: ...

    def change(self, record: TaskRun) -> None: ...

    def line(self, path: str, text: str) -> None: ...

    def notice(self, text: str) -> None:
        """A sentence on what keeps the run waiting."""
        ...

    def end(self, run: Run) -> None: ...

    def __enter__(self) -> Self: ...

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None: ...


def describe(record: TaskRun) -> str:
    """The state and what a person wants to know beside it: `SUCCEEDED (cached)`, `PENDING (retry 1)`."""
    if record.cached:
        return f"{record.state.value} (cached)"
    if record.state is State.PENDING and record.retry_at is not None:
        return f"PENDING (retry {record.retries})"
    return state_text(record.state, record.reason)


_SKIPPED = {
    Reason.CONDITION: "condition was false",
    Reason.UPSTREAM_FAILED: "upstream failed",
    Reason.UPSTREAM_SKIPPED: "upstream skipped",
    Reason.FAIL_FAST: "fail fast",
}


def state_text(state: State, reason: Reason | None) -> str:
    """`SKIPPED (upstream failed)`; other states speak for themselves."""
    if state is State.SKIPPED and reason is not None and reason in _SKIPPED:
        return f"SKIPPED ({_SKIPPED[reason]})"
    return state.value


def seconds_text(seconds: float | None) -> str:
    if seconds is None:
        return ""
    if seconds < 60:
        return f"{seconds:.1f}s"
    minutes, rest = divmod(int(seconds), 60)
    hours, minutes = divmod(minutes, 60)
    return f"{hours}h{minutes:02}m" if hours else f"{minutes}m{rest:02}s"


def elapsed(record: TaskRun, now: float | None = None) -> float | None:
    if record.started_at is None:
        return None
    return max(0.0, (record.ended_at or now or time.time()) - record.started_at)


def _print(text: str) -> None:
    print(text, flush=True)


class PlainLines:
    """One line per change, for a pipe or a CI log."""

    def __init__(self, write: Callable[[str], None] | None = None) -> None:
        self._write = write or _print
        self._lock = threading.Lock()
        self._failure: OSError | None = None

    def begin(self, run_id: str, name: str) -> None:
        self._say(f"run {run_id} {name}")

    def change(self, record: TaskRun) -> None:
        if record.path == ROOT:
            return
        ran = record.state.ended and not record.cached and record.state is not State.SKIPPED
        took = f" in {seconds_text(elapsed(record))}" if ran else ""
        told = record.reason is Reason.CHILD_FAILED  # by the line of the task that failed
        error = f": {record.error}" if record.error and not told else ""
        self._say(f"{datetime.now().astimezone():%H:%M:%S} {record.path} {describe(record)}{took}{error}")

    def line(self, path: str, text: str) -> None:
        self._say(f"[{path}] {text}")

    def notice(self, text: str) -> None:
        self._say(f"{datetime.now().astimezone():%H:%M:%S} {text}")

    def end(self, run: Run) -> None:
        """Raises the OSError that has kept something from being written."""
        if self._failure is not None:
            raise self._failure

    def _say(self, text: str) -> None:
        """A reader that goes away, or a full disk, does not end the run; nothing more is written then."""
        with self._lock:
            if self._failure is None:
                try:
                    self._write(text)
                except OSError as error:
                    self._failure = error

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None: ...


class JsonLines(PlainLines):
    """JSON Lines: one object per state change, and the whole run last."""

    def begin(self, run_id: str, name: str) -> None:
        self._object({"run": {"id": run_id, "name": name, "state": State.RUNNING.value}})

    def change(self, record: TaskRun) -> None:
        if record.path == ROOT:
            return
        self._object(
            {
                "task": record.path,
                "state": record.state.value,
                "cached": record.cached,
                "reason": record.reason.value if record.reason else None,
                "error": record.error or None,
                "time": record.ended_at or record.started_at or time.time(),
            }
        )

    def line(self, path: str, text: str) -> None:
        self._object({"task": path, "log": text})

    def notice(self, text: str) -> None:
        self._object({"notice": text, "time": time.time()})

    def end(self, run: Run) -> None:
        self._object({"run": run.to_json()})
        super().end(run)

    def _object(self, found: JsonObject) -> None:
        self._say(json.dumps(found, ensure_ascii=False))


def is_shown(record: TaskRun) -> bool:
    """Whether a table lists it: leaves always, DAGs and loops only while they say something of their own."""
    speaks = record.state in (State.SKIPPED, State.FAILED) or record.reason is not None
    return record.kind not in CONTAINERS or speaks

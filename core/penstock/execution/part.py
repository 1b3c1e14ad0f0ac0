"""A part of a pipeline that one task of a scheduler stands for."""

from __future__ import annotations

import heapq
import time
from collections.abc import Callable
from concurrent.futures import FIRST_COMPLETED, Future, ThreadPoolExecutor, wait
from dataclasses import dataclass, field
from typing import Final

from penstock.errors import PenstockError
from penstock.execution.control import Step
from penstock.execution.manifest import OutputManifest
from penstock.execution.native import NativeRun
from penstock.execution.order import LaunchOrder

_LOOK_SECONDS: Final = 1.0


def run_part(
    native: NativeRun, path: str, parallel: int, attempt: Callable[[LaunchOrder], OutputManifest]
) -> Step:
    """Run what is at and below `path` to its end, or go on with it where somebody began.

    `attempt` runs one attempt, in a thread of its own, `parallel` at a time. Retries in it are the
    pipeline's own. A Step that waits: `path` has no room yet in the loop around it.
    """
    step = native.prepare(path)
    if step.wait:
        return step
    found = native.record(path)
    if found is None or found.state.ended:
        return step
    with ThreadPoolExecutor(parallel, thread_name_prefix="attempt") as threads:
        _Part(native, path, parallel, attempt, threads).to_the_end()
    return Step()


@dataclass(slots=True)
class _Part:
    _native: NativeRun
    _path: str
    _parallel: int
    _attempt: Callable[[LaunchOrder], OutputManifest]
    _threads: ThreadPoolExecutor
    _ready: dict[str, None] = field(default_factory=dict[str, None])
    _later: list[tuple[float, str]] = field(default_factory=list[tuple[float, str]])
    _running: dict[Future[OutputManifest], str] = field(default_factory=dict[Future[OutputManifest], str])

    def to_the_end(self) -> None:
        control, run_id = self._native.control, self._native.run_id
        self._take(control.begin(run_id))
        while True:
            self._launch()
            if not (self._running or self._ready or self._later):
                break
            done, _ = wait(self._running, self._pause(), FIRST_COMPLETED)
            for one in done:
                path = self._running.pop(one)
                self._take(control.publish(run_id, path, one.result()))
        record = self._native.record(self._path)
        if record is not None and not record.state.ended:
            raise PenstockError(f"'{self._path}' of run {run_id} came to a standstill")

    def _launch(self) -> None:
        while self._later and self._later[0][0] <= time.time():
            self._ready[heapq.heappop(self._later)[1]] = None
        busy = set(self._running.values())
        for path in [one for one in self._ready if one not in busy]:
            if len(self._running) >= self._parallel:
                return
            del self._ready[path]
            step = self._native.control.prepare(self._native.run_id, path)
            self._take(step)
            if step.order is not None:
                self._running[self._threads.submit(self._attempt, step.order)] = path

    def _take(self, step: Step) -> None:
        """Others begin what is not below us."""
        for path in step.following:
            if self._is_ours(path):
                self._ready[path] = None
        for path, due in step.again:
            if self._is_ours(path):
                heapq.heappush(self._later, (due, path))

    def _is_ours(self, path: str) -> bool:
        return path == self._path or path.startswith((f"{self._path}/", f"{self._path}["))

    def _pause(self) -> float:
        if self._ready and len(self._running) < self._parallel:
            return 0.0
        if not self._running and self._later:
            time.sleep(max(0.0, min(_LOOK_SECONDS, self._later[0][0] - time.time())))
            return 0.0
        return _LOOK_SECONDS

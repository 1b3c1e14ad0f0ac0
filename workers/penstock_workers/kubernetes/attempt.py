"""An attempt as a pod that somebody waits for: made or adopted, followed to its end, collected."""

from __future__ import annotations

import logging
import threading
import time
from collections.abc import Callable
from concurrent.futures import Executor
from contextlib import suppress
from dataclasses import dataclass

from penstock.errors import PenstockError, TaskError
from penstock.execution.launcher import LauncherError
from penstock.execution.manifest import Outcome, OutputManifest
from penstock.execution.order import LaunchOrder
from penstock.model import JsonObject, Reason
from penstock_workers.kubernetes.api import KubernetesApi
from penstock_workers.kubernetes.collector import Collector
from penstock_workers.kubernetes.diagnosis import (
    Diagnosis,
    Standing,
    canceled_by_us,
    main_started,
    vanished,
)
from penstock_workers.kubernetes.maker import Plan, PodMaker, refused
from penstock_workers.kubernetes.obstacles import Obstacles
from penstock_workers.kubernetes.pod import MAIN
from penstock_workers.kubernetes.reaper import Reaper
from penstock_workers.kubernetes.watcher import Expected, Watcher
from penstock_workers.remote import Waits

logger = logging.getLogger(__name__)

_UNREACHED_AFTER_STOP = 60.0
"""Seconds that a stopped attempt waits for a cluster that does not answer."""


@dataclass(frozen=True, slots=True)
class Surroundings:
    """What all attempts of a launcher share. `sweeper` carries out what nobody waits for."""

    watcher: Watcher
    maker: PodMaker
    collector: Collector
    reaper: Reaper
    sweeper: Executor


class PodAttempt:
    """`create` makes the pod; `wait` goes on with what `create` left open."""

    def __init__(
        self,
        order: LaunchOrder,
        plan: Plan,
        around: Surroundings,
        on_line: Callable[[str], None] | None,
    ) -> None:
        self._order = order
        self._plan = plan
        self._around = around
        self._expected: Expected | None = None
        self._next_try = 0.0
        self._manifest: OutputManifest | None = None
        self._stop_grace: float | None = None
        self._stopped_at = 0.0
        self._stop_sent = False
        self._waiting = threading.Lock()
        self._obstacles = Obstacles(around.collector.api, around.collector.patience)
        self._live = _LiveLog(around.collector.api, plan.name, on_line) if on_line else None
        self.waits_for = ""

    def create(self) -> None:
        """Make the pod, or adopt it. What it has to wait for, `wait` does.

        Raises InvalidObjectError for a pod that the cluster refuses, LauncherError for a cluster that cannot
        be asked.
        """
        name, watcher = self._plan.name, self._around.watcher
        expected = watcher.expect(name)
        try:
            pod = self._around.maker.bring(self._order, self._plan)
        except (TaskError, LauncherError):
            watcher.forget(name)
            raise
        if isinstance(pod, Waits):
            self.waits_for = pod.why
            self._next_try = time.monotonic() + pod.seconds
        elif pod is None:
            self._manifest = self._collect(vanished(self._order.task_name), None)
        else:
            self.waits_for = ""
            watcher.arrived(name, pod)
            self._expected = expected

    def wait(self, timeout: float | None = None) -> OutputManifest | None:
        until = None if timeout is None else time.monotonic() + timeout
        if not self._waiting.acquire(timeout=-1 if timeout is None else max(0.0, timeout)):
            return None
        try:
            while self._manifest is None:
                self._manifest = self._look()
                if self._manifest is not None:
                    break
                left = 1.0 if until is None else min(1.0, until - time.monotonic())
                if left <= 0:
                    return None
                if self._expected is not None:
                    self._expected.changed.wait(left)
                else:
                    time.sleep(min(left, 0.2))
            return self._manifest
        finally:
            self._waiting.release()

    def stop(self, grace: float = 10.0) -> None:
        if self._manifest is not None:
            return
        if self._stop_grace is None:
            self._stopped_at = time.monotonic()
        if self._stop_grace is None or grace < self._stop_grace:
            self._stop_grace, self._stop_sent = grace, False
        if self._expected is not None:
            self._expected.changed.set()

    def release(self) -> None:
        name, manifest = self._plan.name, self._manifest
        self._around.watcher.forget(name)
        if manifest is None or self._expected is None:
            return
        failed = manifest.outcome is Outcome.FAILED
        # Nobody waits for it; a pod that stays because we die now is the reaper's.
        with suppress(RuntimeError):
            self._around.sweeper.submit(self._around.reaper.release, name, failed=failed)

    def _look(self) -> OutputManifest | None:
        """One look at what is known; the manifest if that is the end."""
        if self._expected is None:
            return self._look_without_pod()
        expected, collector = self._expected, self._around.collector
        expected.changed.clear()
        pod, gone = expected.pod, expected.gone
        assert pod is not None
        self._stop_pod(pod)
        if self._live is not None and main_started(pod):
            self._live.start()
        seen = collector.diagnose(self._order, pod, gone=gone)
        seen = self._obstacles.judge(pod, self._order.task_name, seen)
        self.waits_for = self._around.watcher.trouble or seen.error
        if seen.standing is Standing.STUCK:
            collector.give_up(pod, seen)
        return self._collect(seen, pod) if seen.standing is Standing.ENDED else None

    def _look_without_pod(self) -> OutputManifest | None:
        if self._stop_grace is not None:
            return self._collect(canceled_by_us(self._order.task_name), None)
        if time.monotonic() < self._next_try:
            return None
        try:
            self.create()
        except (TaskError, LauncherError) as problem:
            reason = Reason.INPUT if isinstance(problem, TaskError) else Reason.REFUSED
            return refused(self._order, str(problem), reason)
        return self._manifest

    def _stop_pod(self, pod: JsonObject) -> None:
        if self._stop_grace is None or self._stop_sent:
            return
        try:
            self._around.collector.stop(self._order, pod, self._stop_grace)
            self._stop_sent = True
        except LauncherError as problem:
            if time.monotonic() - self._stopped_at > _UNREACHED_AFTER_STOP:
                raise LauncherError(f"pod '{self._plan.name}' cannot be stopped: {problem}") from problem

    def _collect(self, seen: Diagnosis, pod: JsonObject | None) -> OutputManifest:
        notes = {"shape": self._plan.shape.value}
        collector = self._around.collector
        log = collector.log(self._order, pod, notes)
        if not log and self._live is not None:
            log = self._live.seen()
        found = collector.collect(self._order, self._plan.shape, seen, pod, log=log, notes=notes)
        if self._live is not None:
            self._live.end(log)
        return found


class _LiveLog:
    """Hands on the lines of a container while it runs, from a thread of its own."""

    def __init__(self, api: KubernetesApi, pod: str, on_line: Callable[[str], None]) -> None:
        self._api = api
        self._pod = pod
        self._on_line = on_line
        self._lines: list[bytes] = []
        self._thread: threading.Thread | None = None

    def start(self) -> None:
        if self._thread is None:
            self._thread = threading.Thread(target=self._run, name=f"log-{self._pod}", daemon=True)
            self._thread.start()

    def seen(self) -> bytes:
        return b"".join(line + b"\n" for line in self._lines)

    def end(self, whole: bytes) -> None:
        """The lines that have not been handed on."""
        if self._thread is not None:
            self._thread.join(2.0)
        lines = whole.split(b"\n")
        if lines and not lines[-1]:
            lines.pop()
        for line in lines[len(self._lines) :]:
            self._on_line(line.decode(errors="replace").rstrip("\r"))

    def _run(self) -> None:
        try:
            for line in self._api.follow_log(self._pod, MAIN):
                self._lines.append(line)
                self._on_line(line.decode(errors="replace").rstrip("\r"))
        except PenstockError:
            logger.debug("the log of pod %s cannot be followed", self._pod, exc_info=True)

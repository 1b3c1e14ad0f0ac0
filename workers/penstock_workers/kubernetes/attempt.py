"""An attempt as a pod: made or adopted, followed to its end, its log kept, its end turned into a manifest."""

from __future__ import annotations

import logging
import random
import threading
import time
from collections.abc import Callable
from concurrent.futures import Executor
from contextlib import suppress
from dataclasses import dataclass
from typing import cast

from penstock.artifacts import ArtifactError
from penstock.errors import PenstockError, TaskError
from penstock.execution.launcher import LauncherError
from penstock.execution.manifest import Outcome, OutputManifest
from penstock.execution.order import LaunchOrder
from penstock.model import JsonObject, Reason
from penstock_workers.kubernetes import names
from penstock_workers.kubernetes.api import ExistsError, FullError, KubernetesApi
from penstock_workers.kubernetes.collect import judge, manifest_of, parse_report
from penstock_workers.kubernetes.diagnosis import (
    Diagnosis,
    Patience,
    Standing,
    diagnose,
    main_started,
    message_of,
    vanished,
)
from penstock_workers.kubernetes.pod import MAIN
from penstock_workers.kubernetes.shape import Shape
from penstock_workers.kubernetes.sheet import log_uri, report_uri
from penstock_workers.kubernetes.signing import SigningStore
from penstock_workers.kubernetes.watcher import Expected, Watcher

logger = logging.getLogger(__name__)

_UNREACHED_AFTER_STOP = 60.0
"""Seconds that a stopped attempt waits for a cluster that does not answer."""


@dataclass(frozen=True, slots=True)
class Surroundings:
    """What all attempts of a launcher share. `sweeper` removes pods that ended, as `pods` says."""

    api: KubernetesApi
    watcher: Watcher
    store: SigningStore
    new_id: Callable[[], str]
    patience: Patience
    sweeper: Executor
    pods: str = "delete"


@dataclass(slots=True)
class EndedAttempt:
    """One that needs no pod (any more)."""

    manifest: OutputManifest

    def wait(self, timeout: float | None = None) -> OutputManifest | None:
        return self.manifest

    def stop(self, grace: float = 10.0) -> None:
        return

    def release(self) -> None:
        return


class PodAttempt:
    """`create` makes the pod; `wait` goes on with what `create` left open. `body` gives the pod to make, None
    while its packages are being installed.
    """

    def __init__(
        self,
        order: LaunchOrder,
        shape: Shape,
        name: str,
        body: Callable[[], JsonObject | None],
        around: Surroundings,
        on_line: Callable[[str], None] | None,
        notes: dict[str, str],
    ) -> None:
        self._order = order
        self._shape = shape
        self._body = body
        self._around = around
        self._notes = notes
        self.name = name
        self._expected: Expected | None = None
        self._next_try = 0.0
        self._manifest: OutputManifest | None = None
        self._stop_grace: float | None = None
        self._stopped_at = 0.0
        self._deleted = False
        self._waiting = threading.Lock()
        self._kept_log = b""
        self._live = _LiveLog(around.api, self.name, on_line) if on_line else None
        self.waits_for = ""

    def create(self) -> None:
        """Make the pod, or adopt it. A full quota is waited for, by `wait`.

        Raises InvalidObjectError for a pod that the cluster refuses, LauncherError for a cluster that cannot
        be asked.
        """
        body = self._body()
        if body is None:
            self.waits_for = "its packages are being installed, by a pod of their own"
            self._next_try = time.monotonic() + 0.5
            return
        watcher = self._around.watcher
        expected = watcher.expect(self.name)
        try:
            pod = self._around.api.create("pods", body)
        except FullError as problem:
            self.waits_for = str(problem)
            self._next_try = time.monotonic() + random.uniform(1.0, 5.0)
            return
        except ExistsError:
            pod = self._adopted()
            if pod is None:
                return
        except (TaskError, LauncherError):
            watcher.forget(self.name)
            raise
        self.waits_for = ""
        watcher.arrived(self.name, pod)
        self._expected = expected

    def _adopted(self) -> JsonObject | None:
        pod = self._around.api.get("pods", self.name)
        if pod is None:
            # It is just being removed: whether it ran, its report says.
            self._manifest = self._finish(vanished(self._order.task_name, canceled=False), None)
            return None
        found = cast("dict[str, str]", cast("JsonObject", pod["metadata"]).get("annotations") or {})
        if found.get(names.ORDER) != names.order_digest(self._order):
            raise LauncherError(
                f"pod '{self.name}' was made for another task or with other inputs; look at it, and delete "
                "it if it is nobody's"
            )
        return pod

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
            self._stop_grace, self._deleted = grace, False
        if self._expected is not None:
            self._expected.changed.set()

    def release(self) -> None:
        self._around.watcher.forget(self.name)
        manifest, pods = self._manifest, self._around.pods
        if manifest is None or pods == "keep":
            return
        if pods == "keep-failed" and manifest.outcome is Outcome.FAILED:
            return
        # Nobody waits for it; a pod that stays because we die now is the reaper's.
        with suppress(RuntimeError):
            self._around.sweeper.submit(self._remove)

    def _remove(self) -> None:
        try:
            self._around.api.delete("pods", self.name)
        except PenstockError as problem:
            logger.warning("pod %s stays for the reaper: %s", self.name, problem)

    def _look(self) -> OutputManifest | None:
        """One look at what is known; the manifest if that is the end."""
        if self._expected is None:
            return self._look_without_pod()
        expected, task = self._expected, self._order.task_name
        expected.changed.clear()
        self._delete_if_stopped()
        canceled = self._stop_grace is not None
        pod, gone = expected.pod, expected.gone
        if self._live is not None and pod is not None and main_started(pod):
            self._live.start()
        assert pod is not None
        seen = diagnose(pod, task, time.time(), canceled=canceled, patience=self._around.patience)
        self.waits_for = self._around.watcher.trouble or seen.error
        if seen.standing is Standing.ENDED:
            pending = seen.outcome is Outcome.FAILED and not main_started(pod)
            if pending and not gone:
                # It must never start after it was given up.
                self._around.api.delete("pods", self.name, grace=0)
            return self._finish(seen, pod)
        if gone:
            return self._finish(vanished(task, canceled=canceled), pod)
        return None

    def _look_without_pod(self) -> OutputManifest | None:
        if self._stop_grace is not None:
            return self._finish(vanished(self._order.task_name, canceled=True), None)
        if time.monotonic() < self._next_try:
            return None
        try:
            self.create()
        except (TaskError, LauncherError) as problem:
            reason = Reason.INPUT if isinstance(problem, TaskError) else Reason.REFUSED
            return refused(self._order, str(problem), reason)
        return self._manifest

    def _delete_if_stopped(self) -> None:
        if self._stop_grace is None or self._deleted:
            return
        try:
            self._keep_log()
            self._around.api.delete("pods", self.name, grace=self._stop_grace)
            self._deleted = True
        except LauncherError as problem:
            if time.monotonic() - self._stopped_at > _UNREACHED_AFTER_STOP:
                raise LauncherError(f"pod '{self.name}' cannot be stopped: {problem}") from problem

    def _keep_log(self) -> None:
        pod = self._expected.pod if self._expected is not None else None
        if pod is not None and main_started(pod):
            self._kept_log = self._around.api.log(self.name, MAIN) or self._kept_log

    def _finish(self, seen: Diagnosis, pod: JsonObject | None) -> OutputManifest:
        """Raises LauncherError while the store is away: it is no fault of the task, and nothing is lost."""
        try:
            return self._collect(seen, pod)
        except ArtifactError as problem:
            raise LauncherError(str(problem)) from problem

    def _collect(self, seen: Diagnosis, pod: JsonObject | None) -> OutputManifest:
        """Everything that must outlive the pod is kept, then the manifest is made of it."""
        order, store = self._order, self._around.store
        report = None
        if self._shape is not Shape.PLAIN:
            report = parse_report(message_of(pod)) if pod is not None else None
            if report is None and (pod is None or main_started(pod) or self._shape is Shape.BESIDE):
                report = parse_report(store.read(report_uri(order)))
        end = judge(self._shape, order.task_name, seen, report)
        if pod is not None and main_started(pod):
            with suppress(LauncherError):
                self._keep_log()
        if not self._kept_log and self._live is not None:
            self._kept_log = self._live.seen()
        kept = ""
        if self._kept_log:
            kept = log_uri(order)
            store.write(kept, self._kept_log)
        if self._live is not None:
            self._live.end(self._kept_log)
        if end.reason is Reason.OUTPUT:
            with suppress(PenstockError):
                store.delete(order.task_uri)
        return manifest_of(
            order,
            end,
            report,
            store,
            self._around.new_id,
            log=self._kept_log,
            log_uri=kept,
            notes=self._notes,
        )


def refused(order: LaunchOrder, error: str, reason: Reason = Reason.REFUSED) -> OutputManifest:
    """An attempt that did not come to have a pod."""
    now = time.time()
    return OutputManifest(
        order.attempt_id, Outcome.FAILED, reason=reason, error=error, started_at=now, ended_at=now
    )


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

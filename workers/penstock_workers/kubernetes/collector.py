"""What of an attempt must outlive its pod: the log is stored, then the manifest made of pod and report."""

from __future__ import annotations

import time
from collections.abc import Callable, Generator, Mapping
from contextlib import contextmanager, suppress
from dataclasses import dataclass

from penstock.artifacts import ArtifactError
from penstock.errors import PenstockError
from penstock.execution.launcher import LauncherError
from penstock.execution.manifest import Outcome, OutputManifest
from penstock.execution.order import LaunchOrder
from penstock.model import JsonObject, Reason
from penstock_workers.kubernetes import names
from penstock_workers.kubernetes.api import KubernetesApi
from penstock_workers.kubernetes.collect import judge, manifest_of, parse_report
from penstock_workers.kubernetes.diagnosis import (
    Diagnosis,
    Patience,
    Standing,
    canceled_by_us,
    diagnose,
    is_over,
    main_started,
    may_have_run,
    message_of,
    vanished,
    verdict_of,
    verdict_text,
)
from penstock_workers.kubernetes.faults import DeniedError, TroubleError
from penstock_workers.kubernetes.pod import MAIN
from penstock_workers.kubernetes.shape import Shape
from penstock_workers.kubernetes.sheet import log_uri, report_uri
from penstock_workers.kubernetes.signing import SigningStore


@dataclass(frozen=True, slots=True)
class Collector:
    """Raises LauncherError while cluster or store are away: no fault of the task, and nothing is lost."""

    api: KubernetesApi
    store: SigningStore
    new_id: Callable[[], str]
    patience: Patience

    def diagnose(self, order: LaunchOrder, pod: JsonObject, *, gone: bool) -> Diagnosis:
        seen = diagnose(pod, order.task_name, time.time(), self.patience)
        if gone and seen.standing is not Standing.ENDED:
            return verdict_of(pod) or vanished(order.task_name)
        return seen

    def stop(self, order: LaunchOrder, pod: JsonObject, grace: float) -> None:
        """Cancel the attempt: its pod is asked to end, and made to after `grace` seconds. What it has written
        so far is kept, because a node soon forgets a pod that is deleted.
        """
        if is_over(pod):
            return
        log = self._fetch_log(pod)
        if log:
            self._keep(order, log)
        self._remove(pod, canceled_by_us(order.task_name), grace)

    def give_up(self, pod: JsonObject, seen: Diagnosis) -> None:
        """Of a pod that is STUCK: it must never start after this."""
        self._remove(pod, seen, 0.0)

    def _remove(self, pod: JsonObject, verdict: Diagnosis, grace: float) -> None:
        """First the verdict is written down on it, so that whoever sees its end knows why it came."""
        name = names.name_of(pod)
        if verdict_of(pod) is None:
            body: JsonObject = {"metadata": {"annotations": {names.VERDICT: verdict_text(verdict)}}}
            if self.api.patch("pods", name, body) is None:
                return
        self.api.delete("pods", name, grace=grace)

    def log(self, order: LaunchOrder, pod: JsonObject | None, notes: dict[str, str]) -> bytes:
        """What the task's container has written; where its node does not have that any more, what was stored
        before it was stopped.
        """
        if pod is None or not may_have_run(pod):
            return b""
        try:
            found = self._fetch_log(pod)
        except (TroubleError, DeniedError) as problem:
            found = b""
            notes["log"] = str(problem)
        if not found and verdict_of(pod) is not None:
            with _asking_store():
                found = self.store.read(log_uri(order)) or b""
        return found

    def collect(
        self,
        order: LaunchOrder,
        shape: Shape,
        seen: Diagnosis,
        pod: JsonObject | None,
        *,
        log: bytes,
        notes: Mapping[str, str],
    ) -> OutputManifest:
        with _asking_store():
            report = None if shape is Shape.PLAIN else self._report(order, pod)
            end = judge(shape, order.task_name, seen, report)
            kept = self._keep(order, log) if log else ""
            if end.reason is Reason.OUTPUT:
                with suppress(PenstockError):
                    self.store.delete(order.task_uri)
            return manifest_of(
                order, end, report, self.store, self.new_id, log=log, log_uri=kept, notes=notes
            )

    def left(self, order: LaunchOrder, shape: Shape) -> OutputManifest | None:
        """The end of an attempt by its report, where its pod is gone."""
        report = parse_report(self.store.read(report_uri(order)))
        if report is None or (shape is Shape.BESIDE and not report.get("failed")):
            return None
        done = Diagnosis(Standing.ENDED, Outcome.SUCCEEDED, exit_code=0)
        end = judge(shape, order.task_name, done, report)
        log = self.store.read(log_uri(order)) or b""
        return manifest_of(
            order,
            end,
            report,
            self.store,
            self.new_id,
            log=log,
            log_uri=log_uri(order) if log else "",
            notes={"shape": shape.value},
        )

    def _report(self, order: LaunchOrder, pod: JsonObject | None) -> JsonObject | None:
        report = parse_report(message_of(pod)) if pod is not None else None
        if report is None and (pod is None or may_have_run(pod)):
            report = parse_report(self.store.read(report_uri(order)))
        return report

    def _fetch_log(self, pod: JsonObject) -> bytes:
        return (self.api.log(names.name_of(pod), MAIN) or b"") if main_started(pod) else b""

    def _keep(self, order: LaunchOrder, log: bytes) -> str:
        with _asking_store():
            self.store.write(log_uri(order), log)
        return log_uri(order)


@contextmanager
def _asking_store() -> Generator[None]:
    try:
        yield
    except ArtifactError as problem:
        raise LauncherError(str(problem)) from problem

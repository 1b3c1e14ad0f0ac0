"""From a launch order to its pod, made or found: the same for whoever waits for it and for who does not."""

from __future__ import annotations

import random
import threading
import time
from collections.abc import Callable
from contextlib import suppress
from dataclasses import dataclass, replace

from penstock.execution.launcher import LauncherError
from penstock.execution.manifest import Outcome, OutputManifest
from penstock.execution.order import LaunchOrder
from penstock.execution.process.importer import imported
from penstock.execution.volumes import is_volume_task
from penstock.model import ImporterExecutor, JsonObject, Reason
from penstock.store import new_id
from penstock_workers.kubernetes import names
from penstock_workers.kubernetes.api import KubernetesApi
from penstock_workers.kubernetes.claims import make_workspace, run_claim_task
from penstock_workers.kubernetes.collector import Collector
from penstock_workers.kubernetes.environments import PodEnvironments
from penstock_workers.kubernetes.faults import BusyError, ExistsError, FullError
from penstock_workers.kubernetes.pod import PodSettings, build_pod, program_map
from penstock_workers.kubernetes.podspec import workspace_claim
from penstock_workers.kubernetes.shape import Shape
from penstock_workers.kubernetes.sheet import sheets
from penstock_workers.kubernetes.task import PodTask, pod_task
from penstock_workers.remote import Waits


@dataclass(frozen=True, slots=True)
class Plan:
    """A pod to be. `body` gives it, None while its packages are being installed."""

    name: str
    shape: Shape
    body: Callable[[], JsonObject | None]


class PodMaker:
    """Safe for threads. `archive` takes the pip step off Python components, whose packages are then installed
    once.
    """

    def __init__(
        self,
        api: KubernetesApi,
        settings: PodSettings,
        collector: Collector,
        environments: PodEnvironments,
        *,
        archive: bool,
    ) -> None:
        self._api = api
        self._settings = settings
        self._collector = collector
        self._environments = environments
        self._archive = archive
        self._workspaces: dict[str, str] = {}
        self._lock = threading.Lock()
        self._has_program = False

    def plan(self, order: LaunchOrder) -> Plan | OutputManifest:
        """The manifest of what needs no pod, and of what had one already that is gone.

        Raises TaskError for a task that cannot have one, LauncherError.
        """
        executor = order.executor
        if isinstance(executor, ImporterExecutor):
            return _import(order, executor)
        if is_volume_task(executor):
            return run_claim_task(order, executor, self._api, self._settings.installation)
        task = pod_task(order, executor, archive=self._archive)
        if task.shape is not Shape.PLAIN and (left := self._collector.left(order, task.shape)) is not None:
            return left
        if task.shape is not Shape.PLAIN:
            self._bring_program()
        if order.workspace:
            self._make_workspace(order)
        name = names.pod_name(self._settings.installation, order)
        return Plan(name, task.shape, lambda: self._body(order, task))

    def bring(self, order: LaunchOrder, plan: Plan) -> JsonObject | Waits | None:
        """The pod. None for one that is just being removed, because its end has been recorded.

        Raises InvalidObjectError for a pod that the cluster refuses, LauncherError for a cluster that cannot
        be asked.
        """
        body = plan.body()
        if body is None:
            return Waits("its packages are being installed, by a pod of their own", 0.5)
        try:
            return self._api.create("pods", body)
        except (FullError, BusyError) as problem:
            return Waits(str(problem), random.uniform(1.0, 5.0))
        except ExistsError:
            return self._adopted(order, plan.name)

    def remove_workspaces(self, run_id: str) -> None:
        """Those of the run that it made; those of others are the reaper's."""
        for claim in [claim for claim, run in self._workspaces.items() if run == run_id]:
            del self._workspaces[claim]
            with suppress(LauncherError):
                self._api.delete("persistentvolumeclaims", claim)

    def _adopted(self, order: LaunchOrder, name: str) -> JsonObject | None:
        pod = self._api.get("pods", name)
        if pod is not None and names.annotations_of(pod).get(names.ORDER) != names.order_digest(order):
            raise LauncherError(
                f"pod '{name}' was made for another task or with other inputs; look at it, and delete it if "
                "it is nobody's"
            )
        return pod

    def _body(self, order: LaunchOrder, task: PodTask) -> JsonObject | None:
        environment = None
        if task.installs:
            environment = self._environments.ask(order, task)
            if environment is None:
                return None
        brought = sheets(order, task, self._collector.store, environment)
        return build_pod(order, task, brought, self._settings)

    def _make_workspace(self, order: LaunchOrder) -> None:
        claim = workspace_claim(order)
        with self._lock:
            if claim not in self._workspaces:
                make_workspace(order, order.workspace_spec, self._api, self._settings.installation)
                self._workspaces[claim] = order.run.run_id

    def _bring_program(self) -> None:
        with self._lock:
            if not self._has_program:
                with suppress(ExistsError):
                    self._api.create("configmaps", program_map())
                self._has_program = True


def refused(order: LaunchOrder, error: str, reason: Reason = Reason.REFUSED) -> OutputManifest:
    """An attempt that did not come to have a pod."""
    now = time.time()
    return OutputManifest(
        order.attempt_id, Outcome.FAILED, reason=reason, error=error, started_at=now, ended_at=now
    )


def _import(order: LaunchOrder, executor: ImporterExecutor) -> OutputManifest:
    began = time.time()
    artifact, notes = imported(order, executor)
    output = next(iter(order.component.interface.output_artifacts), "artifact")
    return OutputManifest(
        order.attempt_id,
        Outcome.SUCCEEDED,
        exit_code=0,
        artifacts={output: (replace(artifact, id=new_id(), name=output),)},
        started_at=began,
        ended_at=time.time(),
        notes=notes,
    )

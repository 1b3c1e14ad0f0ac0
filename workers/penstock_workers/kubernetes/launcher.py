"""The Kubernetes launcher: an attempt is a pod, whose name follows from the attempt.

Whoever starts the same attempt again finds the pod by its name, or the report that it left in the artifact
store.
"""

from __future__ import annotations

import threading
import time
from collections.abc import Callable, Iterator, Mapping
from concurrent.futures import ThreadPoolExecutor
from contextlib import suppress
from dataclasses import replace
from typing import Final

from penstock.errors import InvalidInputError, NotFoundError, TaskError
from penstock.execution.launcher import Account, Attempt, LauncherError, LauncherRequest
from penstock.execution.manifest import Outcome, OutputManifest
from penstock.execution.order import LaunchOrder
from penstock.execution.process.importer import imported
from penstock.execution.volumes import is_volume_task
from penstock.ir.features import FeatureName
from penstock.model import (
    Component,
    ContainerExecutor,
    Executor,
    ImporterExecutor,
    Json,
    JsonObject,
    Reason,
)
from penstock.store import new_id
from penstock_workers.kubernetes import names
from penstock_workers.kubernetes.api import ExistsError, KubernetesApi, connect
from penstock_workers.kubernetes.attempt import EndedAttempt, PodAttempt, Surroundings, refused
from penstock_workers.kubernetes.claims import make_workspace, run_claim_task
from penstock_workers.kubernetes.collect import judge, manifest_of, parse_report
from penstock_workers.kubernetes.diagnosis import Diagnosis, Patience, Standing
from penstock_workers.kubernetes.environments import PodEnvironments
from penstock_workers.kubernetes.pod import MAIN, PodSettings, build_pod, program_map
from penstock_workers.kubernetes.podspec import workspace_claim
from penstock_workers.kubernetes.shape import Shape, shape_of
from penstock_workers.kubernetes.sheet import log_uri, report_uri, sheets
from penstock_workers.kubernetes.signing import SigningStore, sign_for
from penstock_workers.kubernetes.task import PodTask, pod_task
from penstock_workers.kubernetes.watcher import Watcher

PATIENT: Final = Patience()
PODS: Final = ("delete", "keep", "keep-failed")
PULL_POLICIES: Final = ("", "Always", "IfNotPresent", "Never")
ENVIRONMENTS: Final = ("archive", "in-pod")


class KubernetesLauncher:
    """`archive` takes the pip step off Python components, whose packages are then installed once."""

    name = "kubernetes"
    emulated: Mapping[FeatureName, str] = {
        FeatureName.PIPELINE_ROOT: "not used: artifacts go to PENSTOCK_PIPELINE_ROOT",
    }

    def __init__(
        self,
        api: KubernetesApi,
        store: SigningStore,
        settings: PodSettings,
        *,
        patience: Patience = PATIENT,
        pods: str = "delete",
        archive: bool = True,
        root: str = "",
    ) -> None:
        self._settings = settings
        self._archive = archive
        watcher = Watcher(api, names.selector(settings.installation, kind="task"), settings.namespace)
        self._environments = PodEnvironments(api, store, settings, root, patience, keep=pods == "keep")
        self._sweeper = ThreadPoolExecutor(2, thread_name_prefix="penstock-sweeper")
        self._around = Surroundings(api, watcher, store, new_id, patience, self._sweeper, pods)
        self._workspaces: dict[str, str] = {}
        self._program = threading.Lock()
        self._has_program = False

    def isolation(self, executor: Executor, platform: Mapping[str, Json]) -> str:
        if isinstance(executor, ImporterExecutor) or is_volume_task(executor):
            return "kubernetes"
        return f"image:{executor.image}"

    def account(
        self, component: Component, executor: Executor, platform: Mapping[str, Json]
    ) -> Account | None:
        if not isinstance(executor, ContainerExecutor) or is_volume_task(executor):
            return None
        shape = shape_of(component, executor)
        return Account(True, f"image {executor.image}: a pod, {_SHAPES[shape]}")

    def start(
        self,
        order: LaunchOrder,
        on_line: Callable[[str], None] | None = None,
        canceled: Callable[[], bool] | None = None,
    ) -> Attempt:
        """What is wrong with the task, or keeps it from having a pod, becomes a FAILED manifest."""
        try:
            return self._start(order, on_line)
        except LauncherError as problem:
            return EndedAttempt(refused(order, str(problem)))
        except TaskError as problem:
            return EndedAttempt(
                refused(order, f"task '{order.task_name}' cannot be started: {problem}", Reason.INPUT)
            )

    def log(self, run_id: str, attempt_id: str, follow: bool = False, place: str = "") -> Iterator[str]:
        """From the cluster while the pod is there, else from the artifact store."""
        if place:
            data = self._around.store.read(place)
            if data is None:
                raise NotFoundError(f"the log of attempt {attempt_id} is not at {place!r} any more")
            yield from data.decode(errors="replace").splitlines()
            return
        api = self._around.api
        found = api.list("pods", names.selector(self._settings.installation, attempt=attempt_id)).items
        if not found:
            raise NotFoundError(
                f"attempt {attempt_id} of run {run_id} has no pod (any more), and no log is kept"
            )
        meta = found[0]["metadata"]
        assert isinstance(meta, dict)
        name = str(meta["name"])
        lines = api.follow_log(name, MAIN) if follow else (api.log(name, MAIN) or b"").splitlines()
        for line in lines:
            yield line.decode(errors="replace").rstrip("\r")

    def end_run(self, run_id: str) -> None:
        """Removes the workspaces that it made; those of others are the reaper's."""
        for claim in [claim for claim, run in self._workspaces.items() if run == run_id]:
            del self._workspaces[claim]
            with suppress(LauncherError):
                self._around.api.delete("persistentvolumeclaims", claim)

    def close(self) -> None:
        self._sweeper.shutdown()
        self._around.watcher.stop()

    def _start(self, order: LaunchOrder, on_line: Callable[[str], None] | None) -> Attempt:
        executor = order.executor
        if isinstance(executor, ImporterExecutor):
            return EndedAttempt(_import(order, executor))
        if is_volume_task(executor):
            return EndedAttempt(
                run_claim_task(order, executor, self._around.api, self._settings.installation)
            )
        task = pod_task(order, executor, archive=self._archive)
        if task.shape is not Shape.PLAIN and (left := self._left(order, task)) is not None:
            return EndedAttempt(left)
        notes = {"shape": task.shape.value}
        if task.shape is not Shape.PLAIN:
            self._bring_program()
        if order.workspace:
            self._make_workspace(order)
        name = names.pod_name(self._settings.installation, order)
        attempt = PodAttempt(
            order, task.shape, name, lambda: self._pod(order, task), self._around, on_line, notes
        )
        attempt.create()
        return attempt

    def _pod(self, order: LaunchOrder, task: PodTask) -> JsonObject | None:
        """None while its packages are being installed."""
        environment = None
        if task.installs:
            environment = self._environments.ask(order, task)
            if environment is None:
                return None
        return build_pod(order, task, sheets(order, task, self._around.store, environment), self._settings)

    def _left(self, order: LaunchOrder, task: PodTask) -> OutputManifest | None:
        """The end of an attempt that somebody started before, by its report, if its pod is gone since."""
        data = self._around.store.read(report_uri(order))
        report = parse_report(data)
        if report is None or (task.shape is Shape.BESIDE and not report.get("failed")):
            return None
        end = judge(
            task.shape, order.task_name, Diagnosis(Standing.ENDED, Outcome.SUCCEEDED, exit_code=0), report
        )
        log = self._around.store.read(log_uri(order)) or b""
        return manifest_of(
            order,
            end,
            report,
            self._around.store,
            new_id,
            log=log,
            log_uri=log_uri(order) if log else "",
            notes={"shape": task.shape.value},
        )

    def _make_workspace(self, order: LaunchOrder) -> None:
        claim = workspace_claim(order)
        with self._program:
            if claim not in self._workspaces:
                make_workspace(order, order.workspace_spec, self._around.api, self._settings.installation)
                self._workspaces[claim] = order.run.run_id

    def _bring_program(self) -> None:
        with self._program:
            if not self._has_program:
                with suppress(ExistsError):
                    self._around.api.create("configmaps", program_map())
                self._has_program = True


_SHAPES: Final = {
    Shape.PLAIN: "as it is (nothing to stage)",
    Shape.IN_PLACE: "staged in place (in the task's own container)",
    Shape.BESIDE: "staged from beside (an init container and a sidecar)",
}


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


def open_kubernetes(request: LauncherRequest) -> KubernetesLauncher:
    """The factory of the entry point. Raises InvalidInputError, naming the setting."""
    settings, given = request.settings, request.settings.foreign
    api = connect(given["kubernetes_context"], given["kubernetes_namespace"])
    return KubernetesLauncher(
        api,
        sign_for(request.store, request.pipeline_root, given["kubernetes_s3_endpoint"]),
        PodSettings(
            installation=settings.installation,
            namespace=api.namespace,
            image=given["kubernetes_image"],
            service_account=given["kubernetes_service_account"],
            pull_policy=_one_of(given, "kubernetes_pull_policy", PULL_POLICIES),
            upload_seconds=int(_number(given, "kubernetes_upload_seconds")),
        ),
        patience=Patience(
            _number(given, "kubernetes_pending_seconds"), _number(given, "kubernetes_pull_seconds")
        ),
        pods=_one_of(given, "kubernetes_pods", PODS),
        archive=_one_of(given, "kubernetes_environments", ENVIRONMENTS) == "archive",
        root=request.pipeline_root,
    )


def _number(given: Mapping[str, str], name: str) -> float:
    try:
        found = float(given[name])
    except ValueError:
        found = -1.0
    if not 0 <= found < 1e9:
        raise InvalidInputError(f"{name} must be a number of seconds from 0, not '{given[name]}'")
    return found


def _one_of(given: Mapping[str, str], name: str, words: tuple[str, ...]) -> str:
    if given[name] not in words:
        known = ", ".join(word for word in words if word)
        raise InvalidInputError(f"{name} must be one of {known}, not '{given[name]}'")
    return given[name]

"""The Kubernetes launcher: an attempt is a pod, whose name follows from the attempt.

Whoever starts the same attempt again finds the pod by its name, or the report that it left in the artifact
store.
"""

from __future__ import annotations

import threading
from collections.abc import Callable, Iterator, Mapping
from concurrent.futures import ThreadPoolExecutor
from contextlib import suppress
from typing import Final

from penstock.artifacts import AwayError
from penstock.errors import InvalidInputError, NotFoundError, TaskError
from penstock.execution.launcher import Account, Attempt, EndedAttempt, LauncherError, LauncherRequest
from penstock.execution.manifest import Outcome, OutputManifest
from penstock.execution.order import LaunchOrder
from penstock.execution.volumes import is_volume_task
from penstock.ir.features import FeatureName
from penstock.model import Component, ContainerExecutor, Executor, ImporterExecutor, Json, JsonObject, Reason
from penstock.store import new_id
from penstock_workers.kubernetes import names
from penstock_workers.kubernetes.api import KubernetesApi
from penstock_workers.kubernetes.attempt import PodAttempt, Surroundings
from penstock_workers.kubernetes.collector import Collector
from penstock_workers.kubernetes.connection import connect
from penstock_workers.kubernetes.diagnosis import Patience, Standing, vanished
from penstock_workers.kubernetes.environments import PodEnvironments
from penstock_workers.kubernetes.faults import UnreachableError
from penstock_workers.kubernetes.maker import PodMaker, refused
from penstock_workers.kubernetes.obstacles import Obstacles
from penstock_workers.kubernetes.pod import MAIN, PodSettings
from penstock_workers.kubernetes.reaper import POLICIES, Keeping, Reaper
from penstock_workers.kubernetes.shape import Shape, shape_of
from penstock_workers.kubernetes.signing import SigningStore, sign_for
from penstock_workers.kubernetes.watcher import Watcher
from penstock_workers.kubernetes.witness import Witness
from penstock_workers.remote import Seen, Waits

PATIENT: Final = Patience()
DELETED: Final = Keeping()
PULL_POLICIES: Final = ("", "Always", "IfNotPresent", "Never")
ENVIRONMENTS: Final = ("archive", "in-pod")
QUICK: Final = 5.0
"""Seconds for which a remote verb asks a cluster or store that does not answer; who asked comes again."""
LOOK_SECONDS: Final = 1.0


class KubernetesLauncher:
    """Embedded (`start`), and remote: `launch`, `collect`, `end`, `forget`, `watch`, `reap`. `archive` takes
    the pip step off Python components, whose packages are then installed once.
    """

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
        keeping: Keeping = DELETED,
        archive: bool = True,
        root: str = "",
        name: str = "kubernetes",
    ) -> None:
        self.name = name
        self._settings = settings
        self._patience = patience
        self._store = store
        self._selector = names.selector(settings.installation, kind="task")
        self._sweeper = ThreadPoolExecutor(2, thread_name_prefix="penstock-sweeper")
        self._api, self._quick = api, api.apart(QUICK)

        def parts(asked: KubernetesApi, store: SigningStore) -> tuple[PodMaker, Collector]:
            collector = Collector(asked, store, new_id, patience)
            environments = PodEnvironments(
                asked, store, settings, root, patience, keep=keeping.keeps(failed=False)
            )
            return PodMaker(asked, settings, collector, environments, archive=archive), collector

        maker, collector = parts(api, store)
        self._maker, self._collector = parts(self._quick, store.apart(QUICK))
        self._reaper = Reaper(self._quick, settings.installation, keeping)
        watcher = Watcher(api.apart(api.patience), self._selector, settings.namespace)
        self._around = Surroundings(watcher, maker, collector, self._reaper, self._sweeper)

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
            return EndedAttempt(_unfit(order, problem))

    def launch(self, order: LaunchOrder) -> OutputManifest | Waits | None:
        try:
            plan = self._maker.plan(order)
            if isinstance(plan, OutputManifest):
                return plan
            found = self._maker.bring(order, plan)
        except UnreachableError:
            raise
        except AwayError as problem:
            raise LauncherError(str(problem)) from problem
        except LauncherError as problem:
            return refused(order, str(problem))
        except TaskError as problem:
            return _unfit(order, problem)
        if found is None:
            raise LauncherError(f"pod '{plan.name}' is just being removed: its end has been recorded")
        return found if isinstance(found, Waits) else None

    def collect(self, order: LaunchOrder, what: Mapping[str, Json]) -> OutputManifest:
        pod = what.get("pod")
        if not isinstance(pod, dict):
            pod = self._quick.get("pods", self._pod_name(order))
        shape = _shape(order)
        if pod is None:
            seen = vanished(order.task_name)
        else:
            seen = self._collector.diagnose(order, pod, gone=bool(what.get("gone")))
            if seen.standing is not Standing.ENDED:
                raise LauncherError(f"pod '{names.name_of(pod)}' has not ended")
        notes = {"shape": shape.value}
        log = self._collector.log(order, pod, notes)
        return self._collector.collect(order, shape, seen, pod, log=log, notes=notes)

    def end(self, order: LaunchOrder, grace: float) -> bool:
        pod = self._quick.get("pods", self._pod_name(order)) if _has_pod(order.executor) else None
        if pod is None:
            return False
        self._collector.stop(order, pod, grace)
        return True

    def forget(self, order: LaunchOrder, manifest: OutputManifest) -> None:
        if not _has_pod(order.executor):
            return
        failed = manifest.outcome is Outcome.FAILED
        # Nobody waits for it; a pod that stays because we die now is the reaper's.
        with suppress(RuntimeError):
            self._sweeper.submit(self._reaper.release, self._pod_name(order), failed=failed)

    def watch(self, on_seen: Callable[[Seen], None], stopped: threading.Event) -> None:
        api = self._quick
        obstacles = Obstacles(api, self._patience)
        witness = Witness(on_seen, self._collector.give_up, self._patience, add=obstacles.judge)

        def take(pod: JsonObject, gone: bool) -> None:
            if not stopped.is_set():
                witness.take(pod, gone)

        watcher = Watcher(
            api.apart(api.patience), self._selector, self._settings.namespace, take, witness.listed
        )
        watcher.start()
        try:
            while not stopped.wait(LOOK_SECONDS):
                witness.look(watcher.trouble)
        finally:
            watcher.stop()

    def reap(self, lives: Callable[[str, str], bool]) -> int:
        return self._reaper.reap(lives, lambda run: lives(run, ""))

    def log(self, run_id: str, attempt_id: str, follow: bool = False, place: str = "") -> Iterator[str]:
        """From the cluster while the pod is there, else from the artifact store."""
        if place:
            data = self._store.read(place)
            if data is None:
                raise NotFoundError(f"the log of attempt {attempt_id} is not at {place!r} any more")
            yield from data.decode(errors="replace").splitlines()
            return
        found = self._api.list("pods", names.selector(self._settings.installation, attempt=attempt_id)).items
        if not found:
            raise NotFoundError(
                f"attempt {attempt_id} of run {run_id} has no pod (any more), and no log is kept"
            )
        name = names.name_of(found[0])
        whole = b"" if follow else self._api.log(name, MAIN) or b""
        for line in self._api.follow_log(name, MAIN) if follow else whole.splitlines():
            yield line.decode(errors="replace").rstrip("\r")

    def end_run(self, run_id: str) -> None:
        """Removes the workspaces that it made; those of others are the reaper's."""
        self._around.maker.remove_workspaces(run_id)
        self._maker.remove_workspaces(run_id)

    def close(self) -> None:
        self._sweeper.shutdown()
        self._around.watcher.stop()
        self._api.stopped.set()
        self._quick.stopped.set()

    def _start(self, order: LaunchOrder, on_line: Callable[[str], None] | None) -> Attempt:
        plan = self._around.maker.plan(order)
        if isinstance(plan, OutputManifest):
            return EndedAttempt(plan)
        attempt = PodAttempt(order, plan, self._around, on_line)
        attempt.create()
        return attempt

    def _pod_name(self, order: LaunchOrder) -> str:
        return names.pod_name(self._settings.installation, order)


def _has_pod(executor: Executor) -> bool:
    return isinstance(executor, ContainerExecutor) and not is_volume_task(executor)


def _shape(order: LaunchOrder) -> Shape:
    assert isinstance(order.executor, ContainerExecutor)
    return shape_of(order.component, order.executor)


def _unfit(order: LaunchOrder, problem: TaskError) -> OutputManifest:
    return refused(order, f"task '{order.task_name}' cannot be started: {problem}", Reason.INPUT)


_SHAPES: Final = {
    Shape.PLAIN: "as it is (nothing to stage)",
    Shape.IN_PLACE: "staged in place (in the task's own container)",
    Shape.BESIDE: "staged from beside (an init container and a sidecar)",
}


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
        keeping=Keeping(
            _one_of(given, "kubernetes_pods", POLICIES), _number(given, "kubernetes_pod_ttl_seconds")
        ),
        archive=_one_of(given, "kubernetes_environments", ENVIRONMENTS) == "archive",
        root=request.pipeline_root,
        name=request.name,
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

"""Installed packages, kept: each set of requirements is installed once in each image, by a pod of its own,
and lies in the artifact store as an archive that the pods of tasks unpack.
"""

from __future__ import annotations

import json
import logging
import threading
import time
from collections.abc import Mapping
from contextlib import suppress
from dataclasses import dataclass
from hashlib import sha256
from typing import Final, cast

from penstock.errors import PenstockError, TaskError
from penstock.execution.environments.bootstrap import PipInstall
from penstock.execution.environments.environment import with_old_urllib3, without_dummies
from penstock.execution.environments.pipsettings import masked
from penstock.execution.order import LaunchOrder
from penstock.execution.process.log_tail import last_line_of
from penstock.model import Json, JsonObject
from penstock_workers.kubernetes import names
from penstock_workers.kubernetes.api import KubernetesApi
from penstock_workers.kubernetes.collect import parse_report
from penstock_workers.kubernetes.diagnosis import Patience, Standing, diagnose, message_of
from penstock_workers.kubernetes.faults import ExistsError, FullError
from penstock_workers.kubernetes.pod import ENVIRONMENT, MAIN, PROGRAM, STAGING, PodSettings, program
from penstock_workers.kubernetes.podspec import literal, parts_of
from penstock_workers.kubernetes.sheet import Environment, bring_sheet, upload_fields
from penstock_workers.kubernetes.signing import SigningStore
from penstock_workers.kubernetes.task import PodTask

FOLDER: Final = ".penstock-environments"
_POLL: Final = 0.5
_FORGOTTEN: Final = 60.0
"""Seconds that a failed installation counts for those who have waited for it too."""

logger = logging.getLogger(__name__)


@dataclass(slots=True)
class _Building:
    """`environment` once it is there, `error` if it cannot be."""

    asked: float = 0.0
    environment: Environment | None = None
    error: str = ""
    failed: float = 0.0


class PodEnvironments:
    """Archives below one pipeline root. Any number of processes may ask for one: one pod installs it."""

    def __init__(
        self,
        api: KubernetesApi,
        store: SigningStore,
        settings: PodSettings,
        root: str,
        patience: Patience,
        *,
        keep: bool = False,
    ) -> None:
        self._api = api
        self._store = store
        self._settings = settings
        self._root = root.rstrip("/")
        self._patience = patience
        self._keep = keep
        self._known: dict[str, _Building] = {}
        self._lock = threading.Lock()

    def ask(self, order: LaunchOrder, task: PodTask) -> Environment | None:
        """The task's packages; None while they are being installed: ask again, it costs little.

        Raises TaskError, in pip's words, when they cannot be; LauncherError.
        """
        key = environment_key(task)
        building = self._known.setdefault(key, _Building())
        if building.environment is not None:
            return building.environment
        with self._lock:
            if building.environment is not None:
                return building.environment
            now = time.monotonic()
            if building.error and now - building.failed < _FORGOTTEN:
                raise TaskError(building.error)
            if now - building.asked < _POLL:
                return None
            building.asked = now
            building.error = ""
            try:
                building.environment = self._look(key, order, task)
            except TaskError as problem:
                building.error, building.failed = str(problem), time.monotonic()
                raise
            return building.environment

    def _uri(self, key: str) -> str:
        return f"{self._root}/{FOLDER}/{key}"

    def _look(self, key: str, order: LaunchOrder, task: PodTask) -> Environment | None:
        found = self._read(key)
        if found is not None:
            return found
        body = self._pod(key, order, task)
        name = str(cast("JsonObject", body["metadata"])["name"])
        try:
            self._api.create("pods", body)
            return None
        except FullError:
            return None
        except ExistsError:
            pod = self._api.get("pods", name)
        if pod is None:
            return None
        seen = diagnose(pod, order.task_name, time.time(), patience=self._patience)
        if seen.standing not in (Standing.ENDED, Standing.STUCK):
            return None
        report = parse_report(message_of(pod)) or parse_report(
            self._store.read(f"{self._uri(key)}.penstock/report.json")
        )
        if report is None or "sha256" not in report:
            self._fail(order, name, seen.error, report)
        found = self._keep_archive(key, cast("JsonObject", report))
        if not self._keep:
            with suppress(PenstockError):
                self._api.delete("pods", name)
        return found

    def _fail(self, order: LaunchOrder, pod: str, error: str, report: JsonObject | None) -> None:
        failed = cast("Mapping[str, str]", (report or {}).get("failed") or {})
        log = self._api.log(pod, MAIN) or b""
        logger.info("installing packages for task %s failed: %s", order.path, log.decode(errors="replace"))
        self._api.delete("pods", pod)
        why = failed.get("text", "").removeprefix("packages cannot be installed: ")
        if not why:
            why = error.replace(f"task '{order.task_name}'", "the pod that installs them")
            why += f": {last}" if (last := last_line_of(log)) else ""
        raise TaskError(f"the packages of task '{order.task_name}' cannot be installed: {why}")

    def _read(self, key: str) -> Environment | None:
        data = self._store.read(f"{self._uri(key)}/environment.json")
        if data is None:
            return None
        found = cast("dict[str, str]", json.loads(data))
        return Environment(f"{self._uri(key)}/archive", found["sha256"], found["python"])

    def _keep_archive(self, key: str, report: JsonObject) -> Environment:
        uri = f"{self._uri(key)}/archive"
        if "pieces" in report:
            self._store.compose(uri, cast("list[str]", report["pieces"]))
        found = {name: report[name] for name in ("sha256", "size", "python")}
        self._store.write(f"{self._uri(key)}/environment.json", json.dumps(found).encode())
        return Environment(uri, str(report["sha256"]), str(report["python"]))

    def _pod(self, key: str, order: LaunchOrder, task: PodTask) -> JsonObject:
        """Placed as the task is, with its image and what it tells pip, and nothing else of it."""
        settings, parts = self._settings, parts_of(order)
        installs, substitutes = _installs(task)
        sheet: JsonObject = {
            "mode": "build",
            "patience": 300,
            "upload": upload_fields(self._uri(key), self._store),
            "build": {
                "root": ENVIRONMENT,
                "uri": f"{self._uri(key)}/archive",
                "installs": installs,
                "substitutes": substitutes,
            },
        }
        if self._store.authorities:
            sheet["ca"] = self._store.authorities
        brought = bring_sheet(f"{self._uri(key)}.penstock/sheet.json", sheet, self._store)
        variables = {**_pip_variables(task), **brought}
        container: JsonObject = {
            **({"imagePullPolicy": settings.pull_policy} if settings.pull_policy else {}),
            **parts.container,
            "name": MAIN,
            "image": task.image,
            "command": [*STAGING],
            "env": [{"name": one, "value": literal(value)} for one, value in variables.items()],
            "volumeMounts": [{"name": "penstock", "mountPath": PROGRAM, "readOnly": True}],
        }
        owner = sha256(f"{settings.installation}\0{self._root}\0{key}".encode()).hexdigest()[:16]
        labels: JsonObject = {
            "app.kubernetes.io/managed-by": "penstock",
            names.INSTALLATION: settings.installation,
            names.KIND: "environment",
        }
        metadata: JsonObject = {"name": f"penstock-environment-{owner}", "labels": labels}
        spec: JsonObject = {
            "restartPolicy": "Never",
            "enableServiceLinks": False,
            "automountServiceAccountToken": False,
            "activeDeadlineSeconds": 3600,
            **parts.spec,
            "containers": [container],
            "volumes": [{"name": "penstock", "configMap": {"name": program()[0], "defaultMode": 0o444}}],
        }
        return {"apiVersion": "v1", "kind": "Pod", "metadata": metadata, "spec": spec}


def environment_key(task: PodTask) -> str:
    """Credentials in URLs do not count, so they may be renewed."""
    content: list[Json] = [
        ENVIRONMENT,
        task.image,
        [[list(one.requirements), list(one.options)] for one in task.installs],
        dict[str, Json](_pip_variables(task)),
    ]
    return sha256(masked(json.dumps(content, sort_keys=True)).encode()).hexdigest()[:32]


def _pip_variables(task: PodTask) -> dict[str, str]:
    return {
        name: value
        for name, value in task.variables.items()
        if name.startswith("PIP_") or name.upper().endswith("_PROXY")
    }


def _installs(task: PodTask) -> tuple[list[Json], JsonObject]:
    """(pip's arguments of each install, what stands in for a kfp that no index has)."""
    installs: tuple[PipInstall, ...] = with_old_urllib3(without_dummies(task.installs)[0])[0]
    words = {word for one in installs for word in one.requirements}
    substitutes: JsonObject = {
        word: word.replace("==", "~=") for word in sorted(words) if word.startswith("kfp==")
    }
    return [[*one.options, *one.requirements] for one in installs], substitutes

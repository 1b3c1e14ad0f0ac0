"""A launch order as a pod. Pure: the same order gives the same pod, whoever asks."""

from __future__ import annotations

import functools
import hashlib
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Final

from penstock.execution.order import LaunchOrder
from penstock.model import Json, JsonObject
from penstock_workers.kubernetes import names
from penstock_workers.kubernetes.podspec import Parts, literal, parts_of
from penstock_workers.kubernetes.shape import Shape
from penstock_workers.kubernetes.task import PodTask

MAIN: Final = "main"
STAGE_IN: Final = "penstock-in"
STAGE_OUT: Final = "penstock-out"
PROGRAM: Final = "/penstock"
SHARED: Final = "/penstock-pod"
ENVIRONMENT: Final = "/tmp/penstock-environment"
"""Of installed packages: the one place that any user of any image may write into, which costs no volume."""
STAGING: Final = ("python3", "-ISu", PROGRAM)
GRACE_SECONDS: Final = 30
_USER: Final = 65532


@dataclass(frozen=True, slots=True)
class PodSettings:
    """What holds for every pod of a launcher."""

    installation: str
    namespace: str
    image: str
    service_account: str = ""
    pull_policy: str = ""
    upload_seconds: int = 3600


@functools.cache
def program() -> tuple[str, Mapping[str, str]]:
    """(name of its config map, text by file) of the staging program. Another text is another config map."""
    folder = Path(__file__).with_name("staging")
    files = {one.name: one.read_text("utf-8") for one in sorted(folder.glob("*.py"))}
    digest = hashlib.sha256("\0".join([*files, *files.values()]).encode()).hexdigest()
    return f"penstock-stage-{digest[:16]}", files


def program_map() -> JsonObject:
    name, files = program()
    labels: JsonObject = {"app.kubernetes.io/managed-by": "penstock", names.KIND: "program"}
    return {
        "apiVersion": "v1",
        "kind": "ConfigMap",
        "metadata": {"name": name, "labels": labels},
        "data": dict[str, Json](files),
        "immutable": True,
    }


def build_pod(
    order: LaunchOrder, task: PodTask, sheets: Mapping[str, Mapping[str, str]], settings: PodSettings
) -> JsonObject:
    """`sheets` has, by container name, the variables that bring the staging program its sheet."""
    parts = parts_of(order)
    _add_folders(parts, task)
    pull: JsonObject = {"imagePullPolicy": settings.pull_policy} if settings.pull_policy else {}
    main = {**pull, **_main(order, task, parts, sheets.get(MAIN))}
    before: list[Json] = list(parts.before)
    if task.shape is Shape.BESIDE:
        # The sidecar first: it listens before the task can end.
        mounts = _staging_mounts(parts, task)
        ours = {**pull, **_security()}
        before = [
            {**_ours(STAGE_OUT, settings, sheets[STAGE_OUT], mounts), "restartPolicy": "Always", **ours},
            {**_ours(STAGE_IN, settings, sheets[STAGE_IN], mounts), **ours},
            *before,
        ]
        parts.volumes.append({"name": "penstock-pod", "emptyDir": {}})
    if task.shape is not Shape.PLAIN:
        parts.volumes.append({"name": "penstock", "configMap": {"name": program()[0], "defaultMode": 0o444}})
    spec: JsonObject = {
        "restartPolicy": "Never",
        "enableServiceLinks": False,
        "automountServiceAccountToken": bool(settings.service_account),
        "terminationGracePeriodSeconds": (
            settings.upload_seconds if task.shape is Shape.BESIDE else GRACE_SECONDS
        ),
        **parts.spec,
        **({"serviceAccountName": settings.service_account} if settings.service_account else {}),
        **({"activeDeadlineSeconds": max(1, round(order.timeout))} if order.timeout is not None else {}),
        **({"initContainers": before} if before else {}),
        "containers": [main],
        **({"volumes": parts.volumes} if parts.volumes else {}),
    }
    labels: JsonObject = {**parts.labels, **names.labels(settings.installation, order)}
    annotations: JsonObject = {**parts.annotations, **names.marks(order, task.shape.value)}
    metadata: JsonObject = {
        "name": names.pod_name(settings.installation, order),
        "namespace": settings.namespace,
        "labels": labels,
        "annotations": annotations,
        "finalizers": [names.FINALIZER],
    }
    return {"apiVersion": "v1", "kind": "Pod", "metadata": metadata, "spec": spec}


def _main(order: LaunchOrder, task: PodTask, parts: Parts, sheet: Mapping[str, str] | None) -> JsonObject:
    mounts = list(parts.mounts)
    if task.shape is Shape.IN_PLACE:
        command, args = list(STAGING), []
        mounts.append({"name": "penstock", "mountPath": PROGRAM, "readOnly": True})
    else:
        command, args = list(task.command), list(task.args)
    variables = [*_variables(order, task), *parts.variables, *_env(sheet or {})]
    found: JsonObject = {
        "name": MAIN,
        "image": task.image,
        **({"command": _literals(command)} if command else {}),
        **({"args": _literals(args)} if args else {}),
        "env": _unique(variables),
        **({"resources": task.resources} if task.resources else {}),
        **({"volumeMounts": mounts} if mounts else {}),
        **parts.container,
    }
    return found


def _variables(order: LaunchOrder, task: PodTask) -> list[Json]:
    """What the pipeline declares wins over what the order brings; ours win over both."""
    ours = {
        "KFP_RETRY_INDEX": str(order.retry_index),
        "PENSTOCK_RUN_ID": order.run.run_id,
        "PENSTOCK_TASK_PATH": order.path,
        "PENSTOCK_ATTEMPT_ID": order.attempt_id,
    }
    return _env({**order.environment, **task.variables, **ours})


def _env(variables: Mapping[str, str]) -> list[Json]:
    return [{"name": name, "value": literal(value)} for name, value in variables.items()]


def _unique(variables: Sequence[Json]) -> list[Json]:
    """Kubernetes takes the last of a name; a merge of ours would not know."""
    found: dict[str, Json] = {}
    for one in variables:
        assert isinstance(one, dict)
        found[str(one["name"])] = one
    return list(found.values())


def _add_folders(parts: Parts, task: PodTask) -> None:
    """Where inputs and outputs lie: empty volumes, which any user of the image may write into."""
    taken = {str(one["mountPath"]) for one in parts.mounts if isinstance(one, dict)}
    for folder in task.folders:
        if folder not in taken and (task.shape is Shape.BESIDE or not folder.startswith("/tmp/")):
            parts.mount(_volume_of(folder), {"emptyDir": {}}, folder)


def _staging_mounts(parts: Parts, task: PodTask) -> list[Json]:
    """What our own containers see: the folders of the task, the program, and what they share."""
    folders: list[Json] = [
        one for one in parts.mounts if isinstance(one, dict) and str(one["name"]).startswith("penstock-")
    ]
    return [
        *folders,
        {"name": "penstock", "mountPath": PROGRAM, "readOnly": True},
        {"name": "penstock-pod", "mountPath": SHARED},
    ]


def _ours(name: str, settings: PodSettings, sheet: Mapping[str, str], mounts: list[Json]) -> JsonObject:
    return {
        "name": name,
        "image": settings.image,
        "command": [*STAGING],
        "env": _env(sheet),
        "volumeMounts": mounts,
    }


def _security() -> JsonObject:
    context: JsonObject = {
        "runAsUser": _USER,
        "runAsGroup": _USER,
        "runAsNonRoot": True,
        "readOnlyRootFilesystem": True,
        "allowPrivilegeEscalation": False,
        "capabilities": {"drop": ["ALL"]},
        "seccompProfile": {"type": "RuntimeDefault"},
    }
    return {"securityContext": context}


def _literals(words: Sequence[str]) -> list[Json]:
    return [literal(word) for word in words]


def _volume_of(folder: str) -> str:
    return "penstock-" + folder.strip("/").replace("/", "-")

"""Volume claims: `CreatePVC` and `DeletePVC` of kfp-kubernetes, which KFP's driver carries out itself, and
the workspace of a run.
"""

from __future__ import annotations

import time
from collections.abc import Mapping

from penstock.errors import TaskError
from penstock.execution.manifest import Outcome, OutputManifest
from penstock.execution.order import LaunchOrder
from penstock.execution.volumes import CREATE
from penstock.model import ContainerExecutor, Json, JsonObject
from penstock_workers.kubernetes import names
from penstock_workers.kubernetes.api import KubernetesApi
from penstock_workers.kubernetes.faults import ExistsError
from penstock_workers.kubernetes.podspec import workspace_claim

_ATTEMPT = names.ATTEMPT


def run_claim_task(
    order: LaunchOrder, executor: ContainerExecutor, api: KubernetesApi, installation: str
) -> OutputManifest:
    """Doing it again after a crash gives the same. Raises TaskError, LauncherError."""
    began = time.time()
    parameters: dict[str, Json] = {}
    if executor.image == CREATE:
        parameters["name"] = _create(order, api, installation)
    else:
        name = order.inputs.parameters.get("pvc_name")
        if not isinstance(name, str) or not name:
            raise TaskError(f"task '{order.task_name}' was given no 'pvc_name' of a volume claim to delete")
        api.delete("persistentvolumeclaims", name)
    return OutputManifest(
        order.attempt_id,
        Outcome.SUCCEEDED,
        0,
        parameters=parameters,
        started_at=began,
        ended_at=time.time(),
    )


def _create(order: LaunchOrder, api: KubernetesApi, installation: str) -> str:
    given = order.inputs.parameters
    name = str(given.get("pvc_name") or f"{order.run.resource_name}{given.get('pvc_name_suffix') or ''}")
    spec: JsonObject = {
        "accessModes": given.get("access_modes") or ["ReadWriteOnce"],
        "resources": {"requests": {"storage": given.get("size") or "1Gi"}},
    }
    if given.get("storage_class_name") is not None:
        spec["storageClassName"] = given["storage_class_name"]
    if given.get("volume_name"):
        spec["volumeName"] = given["volume_name"]
    annotations = given.get("annotations")
    metadata: JsonObject = {
        "name": name,
        "labels": dict[str, Json](names.labels(installation, order)),
        **({"annotations": annotations} if isinstance(annotations, dict) else {}),
    }
    try:
        api.create("persistentvolumeclaims", _claim(metadata, spec))
    except ExistsError:
        found = api.get("persistentvolumeclaims", name) or {}
        meta = found.get("metadata")
        labels = meta.get("labels") if isinstance(meta, dict) else None
        if not isinstance(labels, dict) or labels.get(_ATTEMPT) != order.attempt_id:
            raise TaskError(
                f"task '{order.task_name}' cannot make the volume claim '{name}': there is one of that name"
            ) from None
    return name


def make_workspace(
    order: LaunchOrder, config: Mapping[str, Json], api: KubernetesApi, installation: str
) -> None:
    """The claim that all tasks of the run share; idempotent."""
    kubernetes = config.get("kubernetes")
    patch = kubernetes.get("pvcSpecPatch") if isinstance(kubernetes, dict) else None
    spec: JsonObject = {
        "accessModes": ["ReadWriteOnce"],
        "resources": {"requests": {"storage": config.get("size") or "1Gi"}},
        **(patch if isinstance(patch, dict) else {}),
    }
    labels: JsonObject = {**names.labels(installation, order), names.KIND: "workspace"}
    labels.pop(_ATTEMPT)
    try:
        api.create("persistentvolumeclaims", _claim({"name": workspace_claim(order), "labels": labels}, spec))
    except ExistsError:
        return


def _claim(metadata: JsonObject, spec: JsonObject) -> JsonObject:
    return {"apiVersion": "v1", "kind": "PersistentVolumeClaim", "metadata": metadata, "spec": spec}

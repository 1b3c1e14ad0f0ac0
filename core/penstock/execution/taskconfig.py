"""`dsl.TaskConfig`: the part of a task's pod configuration that its component asks to be handed (KFP driver:
driver.go).
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from typing import cast

from penstock.execution.order import LaunchOrder
from penstock.execution.platform import WORKSPACE
from penstock.model import ContainerExecutor, Json, JsonObject, ParameterType


def task_config_parameters(order: LaunchOrder) -> dict[str, Json]:
    """The values of the component's inputs of type TASK_CONFIG, by name; empty for a component without
    one.
    """
    names = [
        name
        for name, declared in order.component.interface.input_parameters.items()
        if declared.type is ParameterType.TASK_CONFIG and name not in order.inputs.parameters
    ]
    return {name: _config(order) for name in names} if names else {}


def _config(order: LaunchOrder) -> JsonObject:
    """Only the fields that the component lets pass through (`taskConfigPassthroughs`)."""
    executor = order.executor
    assert isinstance(executor, ContainerExecutor)
    volumes, mounts = _volumes(order)
    fields: dict[str, tuple[tuple[str, Json], ...]] = {
        "RESOURCES": (("resources", _resources(executor)),),
        "ENV": (("env", [{"name": one.name, "value": one.value} for one in executor.env]),),
        "KUBERNETES_AFFINITY": (("affinity", node_affinity(order.platform)),),
        "KUBERNETES_TOLERATIONS": (("tolerations", tolerations(order.platform)),),
        "KUBERNETES_NODE_SELECTOR": (("nodeSelector", node_selector(order.platform)),),
        "KUBERNETES_VOLUMES": (("volumes", volumes), ("volumeMounts", mounts)),
    }
    passed = [fields.get(one.field, ()) for one in order.component.passthroughs]
    return {name: value for pairs in passed for name, value in pairs if value}


def _resources(executor: ContainerExecutor) -> JsonObject:
    found = executor.resources
    limits: JsonObject = {"cpu": found.cpu_limit, "memory": found.memory_limit}
    if found.accelerator is not None:
        limits[found.accelerator.type] = found.accelerator.count
    requests: JsonObject = {"cpu": found.cpu_request, "memory": found.memory_request}
    both = {"limits": _filled(limits), "requests": _filled(requests)}
    return {name: value for name, value in both.items() if value}


def node_affinity(platform: Mapping[str, Json]) -> JsonObject:
    """Terms with a weight are preferred, the others required."""
    required: list[Json] = []
    preferred: list[Json] = []
    for entry in _entries(platform, "nodeAffinity"):
        whole = entry.get("nodeAffinityJson")
        if isinstance(whole, dict) and whole:
            return {"nodeAffinity": whole}
        term = {key: entry[key] for key in ("matchExpressions", "matchFields") if entry.get(key)}
        if "weight" in entry:
            preferred.append({"weight": entry["weight"], "preference": term})
        elif term:
            required.append(term)
    found: JsonObject = {}
    if required:
        found["requiredDuringSchedulingIgnoredDuringExecution"] = {"nodeSelectorTerms": required}
    if preferred:
        found["preferredDuringSchedulingIgnoredDuringExecution"] = preferred
    return {"nodeAffinity": found} if found else {}


def tolerations(platform: Mapping[str, Json]) -> list[Json]:
    found: list[Json] = []
    for entry in _entries(platform, "tolerations"):
        given = entry.get("tolerationJson")
        if isinstance(given, list):
            found.extend(given)
        elif isinstance(given, dict):
            found.append(given)
        elif "tolerationJson" not in entry:
            seconds = entry.get("tolerationSeconds")
            found.append(
                {**entry, **({} if seconds is None else {"tolerationSeconds": int(cast("str", seconds))})}
            )
    return found


def node_selector(platform: Mapping[str, Json]) -> Json:
    entry = platform.get("nodeSelector")
    if not isinstance(entry, dict):
        return {}
    return entry.get("nodeSelectorJson") or entry.get("labels") or {}


def _volumes(order: LaunchOrder) -> tuple[list[Json], list[Json]]:
    volumes: list[Json] = []
    mounts: list[Json] = []
    claims = [
        (str(one.get("pvcNameParameter") or one.get("name") or ""), one)
        for one in _entries(order.platform, "pvcMount")
    ]
    if order.workspace:
        claims.insert(
            0,
            (f"{order.run.resource_name}-kfp-workspace", {"mountPath": WORKSPACE, "volume": "kfp-workspace"}),
        )
    for claim, entry in claims:
        name = entry.get("volume", claim)
        volumes.append({"name": name, "persistentVolumeClaim": {"claimName": claim}})
        sub_path = {"subPath": entry["subPath"]} if entry.get("subPath") else {}
        mounts.append({"mountPath": entry.get("mountPath"), "name": name, **sub_path})
    return volumes, mounts


def _entries(platform: Mapping[str, Json], key: str) -> Iterator[JsonObject]:
    found = platform.get(key)
    return (one for one in (found if isinstance(found, list) else ()) if isinstance(one, dict))


def _filled(found: JsonObject) -> JsonObject:
    return {name: value for name, value in found.items() if value}

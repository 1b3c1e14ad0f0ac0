"""A task's Kubernetes configuration as parts of a pod (KFP: `backend/src/v2/driver/k8s.go`)."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from hashlib import sha256
from typing import cast

from penstock.execution.order import LaunchOrder
from penstock.execution.platform import WORKSPACE
from penstock.execution.taskconfig import node_affinity, node_selector, tolerations
from penstock.model import Json, JsonObject
from penstock_workers.kubernetes.names import slug


@dataclass(slots=True)
class Parts:
    """What the configuration adds to the pod, and to the task's own container in it."""

    volumes: list[Json] = field(default_factory=list[Json])
    mounts: list[Json] = field(default_factory=list[Json])
    variables: list[Json] = field(default_factory=list[Json])
    spec: JsonObject = field(default_factory=dict[str, Json])
    container: JsonObject = field(default_factory=dict[str, Json])
    before: list[Json] = field(default_factory=list[Json])
    labels: dict[str, str] = field(default_factory=dict[str, str])
    annotations: dict[str, str] = field(default_factory=dict[str, str])

    def mount(self, name: str, source: JsonObject, path: str, sub_path: str = "") -> None:
        if all(cast("JsonObject", one)["name"] != name for one in self.volumes):
            self.volumes.append({"name": name, **source})
        self.mounts.append({"name": name, "mountPath": path, **({"subPath": sub_path} if sub_path else {})})


def workspace_claim(order: LaunchOrder) -> str:
    return f"{order.run.resource_name}-kfp-workspace"


def parts_of(order: LaunchOrder) -> Parts:
    """`order.platform` has its parameters resolved; what became null is left out, as in KFP."""
    found = Parts()
    platform = order.platform
    if order.workspace:
        claim: JsonObject = {"persistentVolumeClaim": {"claimName": workspace_claim(order)}}
        found.mount("kfp-workspace", claim, WORKSPACE)
    for kind, word in (("secret", "secretName"), ("configMap", "name")):
        _sources(found, platform, kind, word)
    for entry in entries(platform, "pvcMount"):
        if name := text(entry, "pvcNameParameter") or text(entry, "name"):
            claim = {"persistentVolumeClaim": {"claimName": name}}
            found.mount(_volume_name(name), claim, text(entry, "mountPath"), text(entry, "subPath"))
    for entry in entries(platform, "fieldPathAsEnv"):
        source: Json = {"fieldRef": {"fieldPath": text(entry, "fieldPath")}}
        found.variables.append({"name": text(entry, "name"), "valueFrom": source})
    _scratch(found, platform)
    _placement(found, platform)
    _identity(found, platform)
    found.before = [_init_container(entry) for entry in entries(platform, "initContainers")]
    return found


def _sources(found: Parts, platform: Mapping[str, Json], kind: str, word: str) -> None:
    """Secrets and config maps, as variables and as volumes."""
    for entry in entries(platform, f"{kind}AsEnv"):
        name = _referred(entry, kind)
        for one in entries(entry, "keyToEnv") if name else ():
            reference: JsonObject = {"name": name, "key": text(one, f"{kind}Key")}
            if entry.get("optional"):
                reference["optional"] = True
            found.variables.append({"name": text(one, "envVar"), "valueFrom": {f"{kind}KeyRef": reference}})
    for entry in entries(platform, f"{kind}AsVolume"):
        name = _referred(entry, kind)
        if name:
            source: JsonObject = {word: name, **({"optional": True} if entry.get("optional") else {})}
            found.mount(_volume_name(name), {kind: source}, text(entry, "mountPath"))


def _scratch(found: Parts, platform: Mapping[str, Json]) -> None:
    for entry in entries(platform, "emptyDirMounts"):
        empty = _filled({"medium": entry.get("medium"), "sizeLimit": entry.get("sizeLimit")})
        found.mount(text(entry, "volumeName"), {"emptyDir": empty}, text(entry, "mountPath"))
    memory = platform.get("enabledSharedMemory")
    if isinstance(memory, dict) and text(memory, "volumeName"):
        empty = _filled({"medium": "Memory", "sizeLimit": memory.get("size")})
        found.mount(text(memory, "volumeName"), {"emptyDir": empty}, "/dev/shm")
    for entry in entries(platform, "genericEphemeralVolume"):
        spec: JsonObject = {
            "accessModes": entry.get("accessModes") or ["ReadWriteOnce"],
            "resources": {"requests": {"storage": entry.get("size")}},
        }
        if not entry.get("defaultStorageClass") and text(entry, "storageClassName"):
            spec["storageClassName"] = text(entry, "storageClassName")
        template = _filled({"metadata": entry.get("metadata"), "spec": spec})
        source: JsonObject = {"ephemeral": {"volumeClaimTemplate": template}}
        found.mount(text(entry, "volumeName"), source, text(entry, "mountPath"))


def _placement(found: Parts, platform: Mapping[str, Json]) -> None:
    selector = node_selector(platform)
    affinity = {**node_affinity(platform), **_pod_affinity(platform)}
    secrets: list[Json] = [
        {"name": name} for one in entries(platform, "imagePullSecret") if (name := _referred(one, "secret"))
    ]
    wanted: JsonObject = {
        "nodeSelector": selector,
        "tolerations": tolerations(platform),
        "affinity": affinity,
        "imagePullSecrets": secrets,
    }
    found.spec |= _filled(wanted)


def _pod_affinity(platform: Mapping[str, Json]) -> JsonObject:
    """Terms with a weight are preferred, the others required; `anti` ones keep away."""
    found: dict[str, dict[str, list[Json]]] = {}
    for entry in entries(platform, "podAffinity"):
        term = _filled(
            {
                "labelSelector": _filled(
                    {
                        "matchExpressions": entry.get("matchPodExpressions"),
                        "matchLabels": entry.get("matchPodLabels"),
                    }
                ),
                "topologyKey": entry.get("topologyKey"),
                "namespaces": entry.get("namespaces"),
                "namespaceSelector": _filled(
                    {
                        "matchExpressions": entry.get("matchNamespaceExpressions"),
                        "matchLabels": entry.get("matchNamespaceLabels"),
                    }
                ),
            }
        )
        side = found.setdefault("podAntiAffinity" if entry.get("anti") else "podAffinity", {})
        if "weight" in entry:
            weighted: Json = {"weight": entry["weight"], "podAffinityTerm": term}
            side.setdefault("preferredDuringSchedulingIgnoredDuringExecution", []).append(weighted)
        else:
            side.setdefault("requiredDuringSchedulingIgnoredDuringExecution", []).append(term)
    return cast("JsonObject", found)


def _identity(found: Parts, platform: Mapping[str, Json]) -> None:
    if policy := text(platform, "imagePullPolicy"):
        found.container["imagePullPolicy"] = policy
    context = platform.get("securityContext")
    if isinstance(context, dict):
        numbers: JsonObject = {
            key: int(cast("str", context[key]))
            for key in ("runAsUser", "runAsGroup")
            if context.get(key) is not None
        }
        if context.get("runAsNonRoot"):
            numbers["runAsNonRoot"] = True
        if numbers:
            found.container["securityContext"] = numbers
    metadata = platform.get("podMetadata")
    if isinstance(metadata, dict):
        for key, target in (("labels", found.labels), ("annotations", found.annotations)):
            values = metadata.get(key)
            if isinstance(values, dict):
                target.update({name: str(value) for name, value in values.items() if value is not None})


def _init_container(entry: JsonObject) -> JsonObject:
    mounts: list[Json] = [
        _filled(
            {
                "name": text(one, "volumeName"),
                "mountPath": text(one, "mountPath"),
                "subPath": text(one, "subPath"),
                "readOnly": one.get("readOnly"),
            }
        )
        for one in entries(entry, "volumeMounts")
    ]
    return _filled(
        {
            "name": text(entry, "name"),
            "image": text(entry, "image"),
            "command": [literal(str(one)) for one in _list(entry, "command")],
            "args": [literal(str(one)) for one in _list(entry, "args")],
            "env": [
                {"name": text(one, "name"), "value": literal(text(one, "value"))}
                for one in entries(entry, "env")
            ],
            "volumeMounts": mounts,
        }
    )


def literal(word: str) -> str:
    """Kubernetes replaces `$(NAME)` in commands and variables; a task gets its words as they are."""
    return word.replace("$", "$$")


def entries(config: Mapping[str, Json], key: str) -> Iterator[JsonObject]:
    return (one for one in _list(config, key) if isinstance(one, dict))


def text(entry: Mapping[str, Json], key: str) -> str:
    found = entry.get(key)
    return found if isinstance(found, str) else ""


def _list(config: Mapping[str, Json], key: str) -> list[Json]:
    found = config.get(key)
    return found if isinstance(found, list) else []


def _referred(entry: JsonObject, kind: str) -> str:
    """The name once its parameter was resolved; empty when that was null, and then there is nothing to do."""
    if f"{kind}NameParameter" in entry:
        return text(entry, f"{kind}NameParameter")
    return text(entry, f"{kind}Name") or text(entry, "name")


def _volume_name(name: str) -> str:
    """A volume's name has at most 63 characters, and no dots, which what it stands for may have."""
    if len(name) <= 63 and "." not in name:
        return name
    return f"{slug(name, 50)}-{sha256(name.encode()).hexdigest()[:8]}"


def _filled(found: Mapping[str, Json]) -> JsonObject:
    return {name: value for name, value in found.items() if value not in (None, "", False, [], {})}

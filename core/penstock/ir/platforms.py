"""The platform spec, the IR's second document: kept whole, its Kubernetes part made regular.

From KFP's `kubernetes_executor_config.proto` (2.17) and what newer SDKs have added since. Its messages are
open: a field that is not known stays where it is, and `strangers` tells of it.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from typing import Final, cast

from penstock.ir.conform import conform
from penstock.ir.fault import FaultError, excerpt, kind
from penstock.ir.schema import (
    FLAG,
    INTEGER,
    LONG,
    PARAMETER_SOURCE,
    STRUCT,
    TASK_OUTPUT_PARAMETER,
    TEXT,
    ListOf,
    MapOf,
    Message,
    Shape,
)
from penstock.model import Json, JsonObject


def _open(fields: Mapping[str, Shape]) -> Message:
    return Message(fields, open=True)


_CLAIM: Final[dict[str, Shape]] = {
    "taskOutputParameter": TASK_OUTPUT_PARAMETER,
    "constant": TEXT,
    "componentInputParameter": TEXT,
}
_METADATA: Final = _open({"labels": MapOf(TEXT), "annotations": MapOf(TEXT)})
_REQUIREMENTS: Final = ListOf(_open({"key": TEXT, "operator": TEXT, "values": ListOf(TEXT)}))
_EXECUTOR: Final = _open(
    {
        "secretAsVolume": ListOf(
            _open(
                {
                    "secretName": TEXT,
                    "secretNameParameter": PARAMETER_SOURCE,
                    "mountPath": TEXT,
                    "optional": FLAG,
                }
            )
        ),
        "secretAsEnv": ListOf(
            _open(
                {
                    "secretName": TEXT,
                    "secretNameParameter": PARAMETER_SOURCE,
                    "keyToEnv": ListOf(_open({"secretKey": TEXT, "envVar": TEXT})),
                    "optional": FLAG,
                }
            )
        ),
        "pvcMount": ListOf(
            _open({**_CLAIM, "pvcNameParameter": PARAMETER_SOURCE, "mountPath": TEXT, "subPath": TEXT})
        ),
        "nodeSelector": _open({"labels": MapOf(TEXT), "nodeSelectorJson": PARAMETER_SOURCE}),
        "podMetadata": _METADATA,
        "imagePullSecret": ListOf(_open({"secretName": TEXT, "secretNameParameter": PARAMETER_SOURCE})),
        "imagePullPolicy": TEXT,
        "configMapAsVolume": ListOf(
            _open(
                {
                    "configMapName": TEXT,
                    "configMapNameParameter": PARAMETER_SOURCE,
                    "mountPath": TEXT,
                    "optional": FLAG,
                }
            )
        ),
        "configMapAsEnv": ListOf(
            _open(
                {
                    "configMapName": TEXT,
                    "configMapNameParameter": PARAMETER_SOURCE,
                    "keyToEnv": ListOf(_open({"configMapKey": TEXT, "envVar": TEXT})),
                    "optional": FLAG,
                }
            )
        ),
        "activeDeadlineSeconds": LONG,
        "fieldPathAsEnv": ListOf(_open({"name": TEXT, "fieldPath": TEXT})),
        "tolerations": ListOf(
            _open(
                {
                    "key": TEXT,
                    "operator": TEXT,
                    "value": TEXT,
                    "effect": TEXT,
                    "tolerationSeconds": LONG,
                    "tolerationJson": PARAMETER_SOURCE,
                }
            )
        ),
        "genericEphemeralVolume": ListOf(
            _open(
                {
                    "volumeName": TEXT,
                    "mountPath": TEXT,
                    "accessModes": ListOf(TEXT),
                    "size": TEXT,
                    "defaultStorageClass": FLAG,
                    "storageClassName": TEXT,
                    "metadata": _METADATA,
                }
            )
        ),
        "nodeAffinity": ListOf(
            _open(
                {
                    "matchExpressions": _REQUIREMENTS,
                    "matchFields": _REQUIREMENTS,
                    "weight": INTEGER,
                    "nodeAffinityJson": PARAMETER_SOURCE,
                }
            )
        ),
        "podAffinity": ListOf(
            _open(
                {
                    "matchPodExpressions": _REQUIREMENTS,
                    "matchPodLabels": MapOf(TEXT),
                    "topologyKey": TEXT,
                    "namespaces": ListOf(TEXT),
                    "matchNamespaceExpressions": _REQUIREMENTS,
                    "matchNamespaceLabels": MapOf(TEXT),
                    "weight": INTEGER,
                    "anti": FLAG,
                }
            )
        ),
        "enabledSharedMemory": _open({"volumeName": TEXT, "size": TEXT}),
        "emptyDirMounts": ListOf(
            _open({"volumeName": TEXT, "mountPath": TEXT, "medium": TEXT, "sizeLimit": TEXT})
        ),
        "securityContext": _open({"runAsUser": LONG, "runAsGroup": LONG, "runAsNonRoot": FLAG}),
        "initContainers": ListOf(
            _open(
                {
                    "name": TEXT,
                    "image": TEXT,
                    "command": ListOf(TEXT),
                    "args": ListOf(TEXT),
                    "env": ListOf(_open({"name": TEXT, "value": TEXT})),
                    "volumeMounts": ListOf(
                        _open({"volumeName": TEXT, "mountPath": TEXT, "subPath": TEXT, "readOnly": FLAG})
                    ),
                }
            )
        ),
    }
)
_CONFIG: Final = _open(
    {
        "workspace": _open({"size": TEXT, "kubernetes": _open({"pvcSpecPatch": STRUCT})}),
        "resourceTtlOnCompletion": LONG,
        "resourceTtlOnSuccess": LONG,
        "resourceTtlOnFailure": LONG,
        "activeDeadlineSeconds": LONG,
    }
)
KUBERNETES: Final = _open(
    {
        "deploymentSpec": _open({"executors": MapOf(_EXECUTOR)}),
        "platform": TEXT,
        "config": STRUCT,
        "pipelineConfig": _CONFIG,
    }
)


def read_platforms(document: Json) -> JsonObject:
    """The document with its Kubernetes part regular; `{}` for none. Raises FaultError."""
    if document is None or document == {}:
        return {}
    if not isinstance(document, dict):
        raise FaultError(f"the platform spec must be a mapping, but is {kind(document)}")
    if unknown := [key for key in document if key != "platforms"]:
        problem = f"the platform spec has the field {excerpt(unknown[0])}, which is not known"
        raise FaultError(problem, remedy="Known is only platforms.")
    found: JsonObject = {}
    platforms = cast("JsonObject", conform(document["platforms"], MapOf(STRUCT)))
    for name, platform in platforms.items():
        try:
            found[name] = conform(platform, KUBERNETES) if name == "kubernetes" else platform
        except FaultError as fault:
            raise fault.within("platforms", name) from None
    return {"platforms": found}


def strangers(value: Json, shape: Shape, *steps: str) -> Iterator[tuple[str, ...]]:
    """The steps to every field that its open message does not know."""
    match shape:
        case Message() if isinstance(value, dict):
            for key, one in value.items():
                if key in shape.fields:
                    yield from strangers(one, shape.fields[key], *steps, key)
                elif shape.open:
                    yield (*steps, key)
        case MapOf(item) if isinstance(value, dict):
            for key, one in value.items():
                yield from strangers(one, item, *steps, key)
        case ListOf(item) if isinstance(value, list):
            for index, one in enumerate(value):
                yield from strangers(one, item, *steps, str(index))
        case _:
            return

"""What a pipeline's Kubernetes configuration means where there is no Kubernetes."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Final

from penstock.errors import TaskError
from penstock.model import Json, Pipeline

HONOURED: Final = frozenset({"activeDeadlineSeconds"})
"""Done here as there."""

WITHOUT_EFFECT: Final = frozenset(
    {
        "imagePullPolicy",
        "imagePullSecret",
        "nodeAffinity",
        "nodeSelector",
        "podAffinity",
        "podMetadata",
        "tolerations",
    }
)
"""Says where and how a pod is placed or labelled: there is none, and the task does not see the difference."""


class PlatformRefusedError(TaskError):
    """The task asks for something of Kubernetes that its launcher cannot give."""


def check_platform(platform: Mapping[str, Json]) -> None:
    """Raises PlatformRefusedError, naming the feature, for what a process on this machine cannot be given."""
    for feature, wanted in platform.items():
        if feature in HONOURED or feature in WITHOUT_EFFECT or not asks(wanted):
            continue
        raise PlatformRefusedError(
            f"it uses Kubernetes' {feature}, which a process on this machine cannot be given; "
            "run it with a Kubernetes launcher"
        )


def asks(wanted: Json) -> bool:
    """Whether the configuration asks for anything: the SDK also writes features whose parameters are all null."""
    if isinstance(wanted, dict):
        return any(asks(one) for one in wanted.values())
    if isinstance(wanted, list):
        return any(asks(one) for one in wanted)
    return wanted not in (None, "", False)


def names_of(pipeline: Pipeline, kind: str) -> set[str]:
    """Names of the secrets (`kind` is secret) or config maps (configMap) that the pipeline's tasks refer to.

    One that comes from a parameter is given as `<parameter>`, in angle brackets.
    """
    found: set[str] = set()
    for component in pipeline.components.values():
        for feature, entries in pipeline.executor_platform(component).items():
            if feature.startswith(kind) and isinstance(entries, list):
                found.update(_name(entry, kind) for entry in entries if isinstance(entry, dict))
    return found - {""}


def _name(entry: Mapping[str, Json], kind: str) -> str:
    source = entry.get(f"{kind}NameParameter")
    if isinstance(source, dict):
        match source:
            case {"runtimeValue": {"constant": str(name)}}:
                return name
            case {"componentInputParameter": str(name)}:
                return f"<{name}>"
            case {"taskOutputParameter": {"producerTask": str(task), "outputParameterKey": str(output)}}:
                return f"<{task}.{output}>"
            case _:
                pass
    name = entry.get(f"{kind}Name")
    return name if isinstance(name, str) else ""

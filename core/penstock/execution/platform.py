"""What a pipeline's Kubernetes configuration means where there is no Kubernetes."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Final

from penstock.errors import TaskError
from penstock.model import Json

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


def check_platform(platform: Mapping[str, Json], task: str) -> None:
    """Raises PlatformRefusedError, naming the feature, for what a process on this machine cannot be given."""
    for feature, wanted in platform.items():
        if feature in HONOURED or feature in WITHOUT_EFFECT or not asks(wanted):
            continue
        raise PlatformRefusedError(
            f"task '{task}' uses Kubernetes' {feature}, which a process on this machine cannot be given; "
            "run it with a Kubernetes launcher"
        )


def asks(wanted: Json) -> bool:
    """Whether the configuration asks for anything: the SDK also writes features whose parameters are all null."""
    if isinstance(wanted, dict):
        return any(asks(one) for one in wanted.values())
    if isinstance(wanted, list):
        return any(asks(one) for one in wanted)
    return wanted not in (None, "", False)

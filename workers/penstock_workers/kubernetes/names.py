"""What pods are called and marked with: whoever asks for the same attempt asks for the same pod."""

from __future__ import annotations

import re
from collections.abc import Mapping
from datetime import datetime
from hashlib import sha256
from typing import Final, cast

from penstock.execution.order import LaunchOrder
from penstock.model import Json, JsonObject
from penstock.model.codec import values_to_json
from penstock.planner.values import go_json

DOMAIN: Final = "penstock.dev"
INSTALLATION: Final = f"{DOMAIN}/installation"
RUN: Final = f"{DOMAIN}/run"
ATTEMPT: Final = f"{DOMAIN}/attempt"
KIND: Final = f"{DOMAIN}/kind"
"""`task`, `environment`, `workspace`, `program`: what an object of ours is for."""
TASK_PATH: Final = f"{DOMAIN}/task-path"
ORDER: Final = f"{DOMAIN}/order"
SHAPE: Final = f"{DOMAIN}/shape"
TASK: Final = f"{DOMAIN}/task"
VERDICT: Final = f"{DOMAIN}/verdict"
"""How an attempt is to end whose pod we have deleted ourselves: written on the pod before that."""
RECORDED: Final = f"{DOMAIN}/recorded"
"""Written on a pod as its finalizer goes: its end has been recorded, and it may be kept to be looked at."""
FINALIZER: Final = f"{DOMAIN}/recorded"
"""Keeps the pod of an attempt, whoever deletes it, until its end has been recorded (as the Job controller
does with its pods): an end is never unseen, and an attempt whose pod is not there never began, or has been
recorded.
"""

_LABEL = 63


def pod_name(installation: str, order: LaunchOrder) -> str:
    """`<task>-<16 hex digits>`, at most 57 characters. An iteration is a part of the task's path."""
    content = (installation, order.run.run_id, order.path, str(order.generation), order.attempt_id)
    digest = sha256("\0".join(content).encode()).hexdigest()
    return f"{slug(order.task_name, 40)}-{digest[:16]}"


def labels(installation: str, order: LaunchOrder) -> dict[str, str]:
    return {
        "app.kubernetes.io/managed-by": "penstock",
        "app.kubernetes.io/name": slug(order.run.pipeline_name, _LABEL),
        INSTALLATION: installation,
        KIND: "task",
        RUN: order.run.run_id,
        ATTEMPT: order.attempt_id,
    }


def marks(order: LaunchOrder, shape: str) -> dict[str, str]:
    return {TASK_PATH: order.path, TASK: order.task_name, ORDER: order_digest(order), SHAPE: shape}


def order_digest(order: LaunchOrder) -> str:
    """What must be the same for a pod to be adopted: task, executor and inputs."""
    content = [order.run.run_id, order.path, repr(order.executor), go_json(values_to_json(order.inputs))]
    return sha256("\0".join(content).encode("utf-8", "surrogatepass")).hexdigest()


def name_of(found: JsonObject) -> str:
    return str(cast("JsonObject", found["metadata"])["name"])


def labels_of(found: JsonObject) -> Mapping[str, str]:
    return cast("Mapping[str, str]", cast("JsonObject", found["metadata"]).get("labels") or {})


def annotations_of(found: JsonObject) -> Mapping[str, str]:
    return cast("Mapping[str, str]", cast("JsonObject", found["metadata"]).get("annotations") or {})


def attempt_of(pod: JsonObject) -> tuple[str, str]:
    """The run's id, and the attempt's."""
    labels = labels_of(pod)
    return labels.get(RUN, ""), labels.get(ATTEMPT, "")


def created(found: JsonObject) -> float:
    """When it was made, in seconds since the epoch."""
    return moment(cast("JsonObject", found["metadata"]).get("creationTimestamp")) or 0.0


def moment(text: Json) -> float | None:
    """A time as the API server writes it, in seconds since the epoch."""
    return datetime.fromisoformat(text).timestamp() if isinstance(text, str) and text else None


def selector(installation: str, **more: str) -> str:
    """A label selector for what is this installation's: `kind="task"`, `run="…"`."""
    keys = {"kind": KIND, "run": RUN, "attempt": ATTEMPT}
    wanted = {INSTALLATION: installation, **{keys[name]: value for name, value in more.items()}}
    return ",".join(f"{name}={value}" for name, value in wanted.items())


def slug(text: str, limit: int) -> str:
    """As a DNS label has it; never empty, begins with a letter."""
    found = re.sub(r"[^a-z0-9]+", "-", text.lower()).strip("-")[:limit].strip("-")
    return found if found[:1].isalpha() else f"task-{found}"[:limit].strip("-")

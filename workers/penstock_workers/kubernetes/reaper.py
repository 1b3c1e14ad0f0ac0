"""Orphans: pods and claims of this installation that nobody waits for any more."""

from __future__ import annotations

import time
from collections.abc import Callable
from dataclasses import dataclass
from datetime import datetime
from typing import Final, cast

from penstock.model import JsonObject
from penstock_workers.kubernetes import names
from penstock_workers.kubernetes.api import KubernetesApi

GRACE_SECONDS: Final = 60.0
"""A pod this young is left alone: who made it may not have recorded it yet."""


@dataclass(frozen=True, slots=True)
class Reaped:
    """Names of what was removed."""

    pods: tuple[str, ...]
    claims: tuple[str, ...]


def reap(
    api: KubernetesApi,
    installation: str,
    *,
    attempt_lives: Callable[[str, str], bool],
    run_lives: Callable[[str], bool],
    keep: Callable[[JsonObject], bool] = lambda pod: False,
    clock: Callable[[], float] = time.time,
) -> Reaped:
    """Remove pods of attempts that have ended, and workspaces of runs that have.

    `attempt_lives` is asked with a run's and an attempt's id, `run_lives` with a run's: whether the record
    has them as not ended. One that the record does not know has ended: pods of another installation have
    another label and are never seen here. Raises LauncherError.
    """
    pods: list[str] = []
    for pod in api.list("pods", names.selector(installation, kind="task")).items:
        name, run, attempt = _identity(pod)
        if clock() - _created(pod) < GRACE_SECONDS or attempt_lives(run, attempt) or keep(pod):
            continue
        if api.delete("pods", name):
            pods.append(name)
    claims: list[str] = []
    for claim in api.list("persistentvolumeclaims", names.selector(installation, kind="workspace")).items:
        name, run, _ = _identity(claim)
        if clock() - _created(claim) < GRACE_SECONDS or run_lives(run):
            continue
        if api.delete("persistentvolumeclaims", name):
            claims.append(name)
    return Reaped(tuple(pods), tuple(claims))


def _identity(found: JsonObject) -> tuple[str, str, str]:
    meta = cast("JsonObject", found["metadata"])
    labels = cast("dict[str, str]", meta.get("labels") or {})
    return str(meta["name"]), labels.get(names.RUN, ""), labels.get(names.ATTEMPT, "")


def _created(found: JsonObject) -> float:
    text = str(cast("JsonObject", found["metadata"]).get("creationTimestamp") or "")
    return datetime.fromisoformat(text).timestamp() if text else 0.0

"""What keeps a node from setting up a pod (a volume that is not there, the network): the pod's own status
does not say it, only its events do.
"""

from __future__ import annotations

import time
from collections.abc import Callable
from dataclasses import replace
from typing import Final

from penstock.execution.launcher import LauncherError
from penstock.execution.manifest import Outcome
from penstock.model import JsonObject, Reason
from penstock_workers.kubernetes import names
from penstock_workers.kubernetes.api import KubernetesApi
from penstock_workers.kubernetes.diagnosis import (
    Diagnosis,
    Patience,
    Standing,
    age_of,
    may_have_run,
)
from penstock_workers.kubernetes.wording import sentence

SILENT: Final = 10.0
"""Seconds that a pod may wait without a word before its events are asked for, and between two questions."""
_REASONS: Final = frozenset(
    {"FailedMount", "FailedAttachVolume", "FailedMapVolume", "FailedCreatePodSandBox"}
)


class Obstacles:
    """For one thread."""

    def __init__(
        self, api: KubernetesApi, patience: Patience, clock: Callable[[], float] = time.time
    ) -> None:
        self._api = api
        self._patience = patience
        self._clock = clock
        self._known: dict[str, tuple[float, str]] = {}

    def judge(self, pod: JsonObject, task: str, seen: Diagnosis) -> Diagnosis:
        """`seen`, with what its events add if it waits and does not say why."""
        now, name = self._clock(), names.name_of(pod)
        age = age_of(pod, now)
        if seen.standing is not Standing.WAITING or seen.error or age < SILENT or not may_have_run(pod):
            self._known.pop(name, None)
            return seen
        asked, text = self._known.get(name, (0.0, ""))
        if now - asked >= SILENT:
            text = self._ask(name)
            self._known[name] = now, text
        if not text:
            return seen
        found = replace(seen, error=f"the pod of task '{task}' cannot be set up: {text}")
        if self._patience.pending and age > self._patience.pending:
            return replace(found, standing=Standing.STUCK, outcome=Outcome.FAILED, reason=Reason.INPUT)
        return found

    def _ask(self, name: str) -> str:
        """The last of them; nothing when they cannot be asked for: they are a help, no more."""
        fields = f"involvedObject.kind=Pod,involvedObject.name={name},type=Warning"
        try:
            events = self._api.list("events", fields=fields).items
        except LauncherError:
            return ""
        last = max((one for one in events if one.get("reason") in _REASONS), key=_time, default=None)
        return sentence(str(last.get("message"))) if last is not None else ""


def _time(event: JsonObject) -> str:
    return str(event.get("lastTimestamp") or event.get("eventTime") or "")

"""What becomes of pods: released once their end has been recorded, then removed, or kept for a time. And
orphans: pods and workspaces of this installation that nobody waits for any more.
"""

from __future__ import annotations

import logging
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Final, cast

from penstock.errors import PenstockError
from penstock.model import JsonObject
from penstock_workers.kubernetes import names
from penstock_workers.kubernetes.api import KubernetesApi
from penstock_workers.kubernetes.diagnosis import is_over

YOUNG: Final = 60.0
"""A pod this young is left alone: who made it may not have recorded it yet."""
GRACE: Final = 30.0
"""Seconds that a pod gets to end which still runs, for nobody."""
POLICIES: Final = ("delete", "keep", "keep-failed")
CLAIMS: Final = "persistentvolumeclaims"

logger = logging.getLogger(__name__)


@dataclass(frozen=True, slots=True)
class Keeping:
    """What becomes of pods that ended: `pods` is one of POLICIES; `seconds` is how long they are kept, 0 for
    ever.
    """

    pods: str = "delete"
    seconds: float = 86400.0

    def keeps(self, *, failed: bool) -> bool:
        return self.pods == "keep" or (self.pods == "keep-failed" and failed)


@dataclass(frozen=True, slots=True)
class Reaper:
    api: KubernetesApi
    installation: str
    keeping: Keeping = Keeping()
    clock: Callable[[], float] = time.time

    def release(self, name: str, *, failed: bool) -> None:
        """The end of a pod has been recorded. Idempotent; what fails now is done by `reap`."""
        try:
            self._release(name, keep=self.keeping.keeps(failed=failed))
        except PenstockError as problem:
            logger.warning("pod %s stays for the reaper: %s", name, problem)

    def reap(self, lives: Callable[[str, str], bool], runs_live: Callable[[str], bool]) -> int:
        """Remove what is left of attempts that have ended, and workspaces of runs that have; how many.

        `lives` is asked with a run's and an attempt's id, `runs_live` with a run's: whether the record has
        them as not ended. One that the record does not know has ended: pods of another installation have
        another label and are never seen here. Raises LauncherError.
        """
        removed = sum(
            self._reap_pod(pod) for pod in self._old("pods", kind="task") if not lives(*names.attempt_of(pod))
        )
        removed += sum(self._reap_environment(pod) for pod in self._old("pods", kind="environment"))
        for claim in self._old(CLAIMS, kind="workspace"):
            if not runs_live(names.labels_of(claim).get(names.RUN, "")):
                removed += self.api.delete(CLAIMS, names.name_of(claim))
        return removed

    def _old(self, resource: str, *, kind: str) -> Sequence[JsonObject]:
        found = self.api.list(resource, names.selector(self.installation, kind=kind)).items
        return [one for one in found if self.clock() - names.created(one) >= YOUNG]

    def _reap_pod(self, pod: JsonObject) -> bool:
        failed = cast("JsonObject", pod.get("status") or {}).get("phase") == "Failed"
        keep = is_over(pod) and self.keeping.keeps(failed=failed) and not self._is_due(pod)
        if keep and names.RECORDED in names.annotations_of(pod):
            return False
        return self._release(names.name_of(pod), keep=keep) and not keep

    def _reap_environment(self, pod: JsonObject) -> bool:
        """Who had it made removes it; this one was forgotten, or is kept."""
        kept = self.keeping.keeps(failed=False) and not self._is_due(pod)
        return is_over(pod) and not kept and self.api.delete("pods", names.name_of(pod))

    def _is_due(self, pod: JsonObject) -> bool:
        return bool(self.keeping.seconds) and self.clock() - _ended(pod) > self.keeping.seconds

    def _release(self, name: str, *, keep: bool) -> bool:
        """False when there is no such pod (any more)."""
        marks: JsonObject = {
            "annotations": {names.RECORDED: "true"},
            "$deleteFromPrimitiveList/finalizers": [names.FINALIZER],
        }
        if self.api.patch("pods", name, {"metadata": marks}) is None:
            return False
        if not keep:
            self.api.delete("pods", name, grace=GRACE)
        return True


def _ended(pod: JsonObject) -> float:
    """When the last of its containers did; else when it was made."""
    status = cast("JsonObject", pod.get("status") or {})
    times = [names.created(pod)]
    for one in cast("list[JsonObject]", status.get("containerStatuses") or []):
        state = cast("JsonObject", one.get("state") or {})
        times.append(names.moment(cast("JsonObject", state.get("terminated") or {}).get("finishedAt")) or 0.0)
    return max(times)

"""What happens to pods, told as what happens to their attempts: each end at least once, and until it has been
recorded.
"""

from __future__ import annotations

import logging
import threading
import time
from collections.abc import Callable, Collection, Mapping
from dataclasses import dataclass
from typing import Final, cast

from penstock.execution.launcher import LauncherError
from penstock.model import Json, JsonObject
from penstock_workers.kubernetes import names
from penstock_workers.kubernetes.diagnosis import Diagnosis, Patience, Standing, diagnose
from penstock_workers.remote import Seen

AGAIN: Final = 60.0
"""Seconds after which an end that was told, and still is not recorded, is told again."""
SOON: Final = 5.0
"""Seconds after which what could not be told or done is tried again."""

logger = logging.getLogger(__name__)


@dataclass(slots=True)
class _Case:
    """One pod. `why` is what was last told of it, None when that is not known; `told` once its end was."""

    pod: JsonObject
    why: str | None
    gone: bool = False
    told: bool = False
    tell_after: float = 0.0
    give_up_after: float = 0.0


class Witness:
    """`take` hears of every change of a pod; `look` is to be called about each second, for what comes with
    time. `give_up` removes a pod that will come to nothing; `add` knows more of one that waits.
    """

    def __init__(
        self,
        on_seen: Callable[[Seen], None],
        give_up: Callable[[JsonObject, Diagnosis], None],
        patience: Patience,
        *,
        add: Callable[[JsonObject, str, Diagnosis], Diagnosis] = lambda pod, task, seen: seen,
        clock: Callable[[], float] = time.time,
    ) -> None:
        self._on_seen = on_seen
        self._add = add
        self._give_up = give_up
        self._patience = patience
        self._clock = clock
        self._began = clock()
        self._cases: dict[str, _Case] = {}
        self._lock = threading.Lock()

    def take(self, pod: JsonObject, gone: bool) -> None:
        pod = trimmed(pod)
        name = names.name_of(pod)
        with self._lock:
            case = self._cases.get(name)
            if names.RECORDED in names.annotations_of(pod) or (gone and case is not None and case.told):
                self._cases.pop(name, None)
                return
            if case is None:
                # Of one that was there before us, another witness may have told something.
                early = names.created(pod) < self._began
                case = self._cases[name] = _Case(pod, None if early else "")
            case.pod, case.gone = pod, gone
            self._tell_end(name, case)

    def listed(self, there: Collection[str]) -> None:
        """All pods that there are."""
        with self._lock:
            for name in self._cases.keys() - set(there):
                case = self._cases[name]
                case.gone = True
                if case.told:
                    del self._cases[name]

    def look(self, trouble: str = "") -> None:
        """`trouble` is why nothing is heard of pods at the moment."""
        with self._lock:
            cases = list(self._cases.items())
        stuck: list[tuple[_Case, Diagnosis]] = []
        for name, case in cases:
            added = self._add(case.pod, _task(case.pod), self._diagnose(case))
            with self._lock:
                if name not in self._cases or self._tell_end(name, case):
                    continue
                seen = self._diagnose(case)
                seen = added if seen.standing is Standing.WAITING and not seen.error else seen
                if seen.standing is Standing.STUCK and self._clock() >= case.give_up_after:
                    stuck.append((case, seen))
                waits = seen.standing is not Standing.RUNNING
                self._tell_why(case, (trouble if waits else "") or seen.error)
        for case, seen in stuck:
            case.give_up_after = self._clock() + SOON
            try:
                self._give_up(case.pod, seen)
            except LauncherError as problem:
                logger.warning("pod %s cannot be given up yet: %s", names.name_of(case.pod), problem)

    def _diagnose(self, case: _Case) -> Diagnosis:
        return diagnose(case.pod, _task(case.pod), self._clock(), self._patience)

    def _tell_end(self, name: str, case: _Case) -> bool:
        """Whether it has ended."""
        if not case.gone and self._diagnose(case).standing is not Standing.ENDED:
            return False
        if self._clock() >= case.tell_after:
            what: dict[str, Json] = {"pod": case.pod, "gone": case.gone}
            case.told = self._tell(case, Seen(*names.attempt_of(case.pod), ended=True, what=what))
            case.tell_after = self._clock() + (AGAIN if case.told else SOON)
            if case.told and case.gone:
                del self._cases[name]
        return True

    def _tell_why(self, case: _Case, why: str) -> None:
        if why != case.why and self._tell(case, Seen(*names.attempt_of(case.pod), ended=False, why=why)):
            case.why = why

    def _tell(self, case: _Case, seen: Seen) -> bool:
        try:
            self._on_seen(seen)
        except Exception:
            logger.exception("what was seen of pod %s is told again", names.name_of(case.pod))
            return False
        return True


def trimmed(pod: JsonObject) -> JsonObject:
    """What a diagnosis, and a collector, need of it."""
    return {
        "metadata": {
            **_some(pod.get("metadata"), _META),
            "labels": dict[str, Json](_ours(names.labels_of(pod))),
            "annotations": dict[str, Json](_ours(names.annotations_of(pod))),
        },
        "spec": {
            **_some(pod.get("spec"), ("nodeName", "activeDeadlineSeconds")),
            **_lists(pod.get("spec"), ("containers", "initContainers"), ("name", "image", "resources")),
        },
        "status": {
            **_some(pod.get("status"), ("phase", "reason", "message", "conditions")),
            **_lists(pod.get("status"), _STATUSES, ("name", "state")),
        },
    }


_META: Final = ("name", "creationTimestamp", "deletionTimestamp", "deletionGracePeriodSeconds")
_STATUSES: Final = ("initContainerStatuses", "containerStatuses")


def _some(found: Json, keys: tuple[str, ...]) -> JsonObject:
    whole = found if isinstance(found, dict) else {}
    return {key: whole[key] for key in keys if key in whole}


def _lists(found: Json, lists: tuple[str, ...], keys: tuple[str, ...]) -> JsonObject:
    some = cast("dict[str, list[Json]]", _some(found, lists))
    return {key: [_some(one, keys) for one in many or ()] for key, many in some.items()}


def _ours(marks: Mapping[str, str]) -> dict[str, str]:
    return {name: value for name, value in marks.items() if name.startswith(f"{names.DOMAIN}/")}


def _task(pod: JsonObject) -> str:
    return names.annotations_of(pod).get(names.TASK, "")

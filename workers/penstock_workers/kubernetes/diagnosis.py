"""How a pod stands, in one sentence: a pure table over what the API server says of it.

Phase, container states, deletion, our own verdict and the time since decide; nothing here talks to anybody.
"""

from __future__ import annotations

import json
import re
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field, replace
from enum import StrEnum
from typing import Final, cast

from penstock.execution.manifest import Outcome
from penstock.model import JsonObject, Reason
from penstock_workers.kubernetes import names
from penstock_workers.kubernetes.pod import MAIN, STAGE_IN, STAGE_OUT
from penstock_workers.kubernetes.wording import pull_failure, sentence, start_failure

_NEVER_PULLED: Final = frozenset({"InvalidImageName", "ErrImageNeverPull"})
_NOT_PULLED: Final = frozenset({"ErrImagePull", "ImagePullBackOff", "RegistryUnavailable"})
_NOT_CREATED: Final = frozenset(
    {"CreateContainerConfigError", "CreateContainerError", "CreatePodSandboxError"}
)
_NO_SUCH_IMAGE: Final = re.compile(
    r"not found|manifest unknown|does not exist|denied|unauthorized|no such host|invalid reference",
    re.IGNORECASE,
)
_NOT_STARTED: Final = frozenset({"StartError", "ContainerCannotRun", "RunContainerError"})
_SOON: Final = 20.0
"""Seconds that a definite failure gets, because registries and caches are sometimes late."""

_LATE: Final = 120.0
"""Seconds after the time by which a deleted pod should have ended; then its node is taken for lost."""
ASKED: Final = frozenset({130, 137, 143})
"""Exit codes of a command that was asked to end, or was made to."""
_OWN: Final = 5.0
"""Seconds: a pod deleted that long after its container had ended did not end because of it. (The kubelet
deletes it once more as soon as all of it has ended, and moves the time with that.)
"""

_DISRUPTIONS: Final = {
    "PreemptionByScheduler": "a pod of higher priority took its place",
    "DeletionByTaintManager": "its node no longer tolerates it, or does not answer",
    "EvictionByEvictionAPI": "it was evicted from its node",
    "DeletionByPodGC": "its node is gone",
    "TerminationByKubelet": "its node was shutting down",
}


class Standing(StrEnum):
    """ENDED: `outcome` says how. WAITING and RUNNING may go on; `error` says what a waiting pod waits for.
    STUCK has waited long enough: it is to be given up, and then ends as `outcome`, `reason` and `error` say.
    """

    WAITING = "waiting"
    RUNNING = "running"
    STUCK = "stuck"
    ENDED = "ended"


@dataclass(frozen=True, slots=True)
class Patience:
    """Seconds: for a node (0: for ever), and for an image that does not come."""

    pending: float = 900.0
    pull: float = 300.0


@dataclass(frozen=True, slots=True)
class Diagnosis:
    standing: Standing
    outcome: Outcome | None = None
    reason: Reason | None = None
    error: str = ""
    exit_code: int | None = None
    started_at: float | None = None
    ended_at: float | None = None


def verdict_text(seen: Diagnosis) -> str:
    """For the annotation that says how a pod is to end which we delete."""
    reason = seen.reason.value if seen.reason else ""
    outcome = seen.outcome.value if seen.outcome else ""
    return json.dumps({"outcome": outcome, "reason": reason, "error": seen.error})


def canceled_by_us(task: str) -> Diagnosis:
    return Diagnosis(Standing.ENDED, Outcome.CANCELED, Reason.CANCELED, f"task '{task}' was canceled")


def vanished(task: str) -> Diagnosis:
    """A pod that is not there (any more), and left no report."""
    return _lost(f"the pod of task '{task}' was deleted from outside before its end was seen")


def diagnose(pod: JsonObject, task: str, now: float, patience: Patience = Patience()) -> Diagnosis:
    """`now` in seconds since the epoch."""
    seen = _Pod(pod)
    what = f"task '{task}'"
    main = seen.state(MAIN)
    started, ended = seen.started(MAIN), seen.ended(MAIN)
    if seen.phase == "Succeeded" or seen.is_done():
        return Diagnosis(Standing.ENDED, Outcome.SUCCEEDED, exit_code=0, started_at=started, ended_at=ended)
    verdict = seen.verdict()
    if seen.phase == "Failed":
        found = verdict or _failed(seen, what, main)
        return replace(found, exit_code=_code(main), started_at=started, ended_at=ended)
    if seen.deleted_at is not None:
        return replace(_deleted(seen, what, now, verdict), started_at=started, ended_at=ended)
    if seen.phase == "Unknown":
        return Diagnosis(Standing.RUNNING, error=f"the node of {what} does not answer")
    if seen.phase == "Running" and "waiting" not in main:
        return Diagnosis(Standing.RUNNING, started_at=started, ended_at=ended)
    return _waiting(seen, what, now, patience)


def _deleted(seen: _Pod, what: str, now: float, verdict: Diagnosis | None) -> Diagnosis:
    """Being deleted, and without a last phase yet: its node is to say that it has ended, if it has one."""
    if not seen.node:
        return verdict or _lost(f"the pod of {what} was deleted from outside before it ran")
    if verdict is not None and verdict.outcome is Outcome.CANCELED and "terminated" in seen.state(MAIN):
        return replace(verdict, exit_code=_code(seen.state(MAIN)))
    if now - cast("float", seen.deleted_at) > _LATE:
        return verdict or _lost(f"the pod of {what} is lost: it was deleted, and its node does not answer")
    if seen.phase == "Running":
        return Diagnosis(Standing.RUNNING)
    ends = "is being deleted from outside" if verdict is None else "is being removed"
    return Diagnosis(Standing.WAITING, error=f"the pod of {what} {ends}")


def _failed(seen: _Pod, what: str, main: JsonObject) -> Diagnosis:
    outcome, reason, error = _failed_pod(seen, what) or _failed_container(seen, what, main)
    return Diagnosis(Standing.ENDED, outcome, reason, error)


def _failed_pod(seen: _Pod, what: str) -> tuple[Outcome, Reason, str] | None:
    """What happened to the pod as a whole."""
    if seen.reason == "DeadlineExceeded":
        limit = cast("JsonObject", seen.pod["spec"]).get("activeDeadlineSeconds")
        text = f"{what} was stopped after {limit} seconds, the time it is allowed"
        return Outcome.FAILED, Reason.DEADLINE, text
    if seen.reason == "Evicted":
        return Outcome.FAILED, Reason.EVICTED, f"the pod of {what} was evicted: {sentence(seen.message)}"
    for one in seen.conditions("DisruptionTarget"):
        cause = str(one.get("reason"))
        if cause in _DISRUPTIONS:
            return Outcome.LOST, Reason.LOST, f"the pod of {what} is lost: {_DISRUPTIONS[cause]}"
    if seen.ended_by_deletion():
        when = "while it ran" if main_started(seen.pod) else "before it ran"
        return Outcome.LOST, Reason.LOST, f"the pod of {what} was deleted from outside {when}"
    if seen.reason in ("NodeLost", "NodeShutdown", "Shutdown", "Terminated"):
        return Outcome.LOST, Reason.LOST, f"the pod of {what} is lost: its node went down"
    if seen.reason in ("UnexpectedAdmissionError", "OutOfcpu", "OutOfmemory", "NodeAffinity"):
        return Outcome.LOST, Reason.LOST, f"its node refused the pod of {what}: {sentence(seen.message)}"
    return None


def _lost(error: str) -> Diagnosis:
    return Diagnosis(Standing.ENDED, Outcome.LOST, Reason.LOST, error)


def _failed_container(seen: _Pod, what: str, main: JsonObject) -> tuple[Outcome, Reason, str]:
    for name, state in seen.init_failures():
        if name == STAGE_IN:
            text = f"the inputs of {what} were not brought in (exit code {_code(state)})"
            return Outcome.FAILED, Reason.INPUT, text
        if name != STAGE_OUT:
            return (
                Outcome.FAILED,
                Reason.EXIT_CODE,
                f"init container '{name}' of {what} ended with exit code {_code(state)}",
            )
    ended = cast("JsonObject", main.get("terminated") or {})
    why = str(ended.get("reason") or "")
    if why == "OOMKilled":
        limit = seen.limit(MAIN, "memory")
        room = f"its memory limit of {limit}" if limit else "the memory of its node"
        return Outcome.FAILED, Reason.OUT_OF_MEMORY, f"{what} was killed: it needed more than {room}"
    if why in _NOT_STARTED:
        return (
            Outcome.FAILED,
            Reason.EXIT_CODE,
            f"{what} cannot be started: {start_failure(str(ended.get('message')))}",
        )
    if not ended:
        text = f"the pod of {what} failed: {sentence(seen.message or seen.reason or 'it does not say why')}"
        return Outcome.LOST, Reason.LOST, text
    code = _code(main)
    if why == "ContainerStatusUnknown" or code is None:
        return Outcome.LOST, Reason.LOST, f"nobody can tell how the pod of {what} ended: its node lost it"
    if code == 137:
        return (
            Outcome.FAILED,
            Reason.EXIT_CODE,
            f"{what} was killed by SIGKILL (exit code 137): out of memory?",
        )
    return Outcome.FAILED, Reason.EXIT_CODE, f"{what} ended with exit code {code}"


def _waiting(seen: _Pod, what: str, now: float, patience: Patience) -> Diagnosis:
    age = seen.age(now)
    for name, state in seen.waiting():
        why, said = str(state.get("reason") or ""), str(state.get("message") or "")
        if why in _NEVER_PULLED | _NOT_PULLED:
            image = seen.image(name)
            text = f"image '{image}' of {what} cannot be pulled: {pull_failure(said, why)}"
            definite = why in _NEVER_PULLED or _NO_SUCH_IMAGE.search(said)
            if age > (min(_SOON, patience.pull) if definite else patience.pull):
                return Diagnosis(Standing.STUCK, Outcome.FAILED, Reason.IMAGE, text)
            return Diagnosis(Standing.WAITING, error=text)
        if why in _NOT_CREATED:
            text = f"the container of {what} cannot be made: {sentence(said or why)}"
            if age > min(_SOON, patience.pull):
                return Diagnosis(Standing.STUCK, Outcome.FAILED, Reason.INPUT, text)
            return Diagnosis(Standing.WAITING, error=text)
    for one in seen.conditions("PodScheduled"):
        if one.get("status") == "False":
            why = sentence(str(one.get("message") or one.get("reason")))
            text = f"no node can take the pod of {what}: {why}"
            if patience.pending and age > patience.pending:
                return Diagnosis(Standing.STUCK, Outcome.FAILED, Reason.UNSCHEDULABLE, text)
            return Diagnosis(Standing.WAITING, error=text)
    return Diagnosis(Standing.WAITING)


@dataclass(slots=True)
class _Pod:
    pod: JsonObject
    status: JsonObject = field(init=False)

    def __post_init__(self) -> None:
        self.status = cast("JsonObject", self.pod.get("status") or {})

    @property
    def phase(self) -> str:
        return str(self.status.get("phase") or "Pending")

    @property
    def reason(self) -> str:
        return str(self.status.get("reason") or "")

    @property
    def message(self) -> str:
        return str(self.status.get("message") or "")

    @property
    def meta(self) -> JsonObject:
        return cast("JsonObject", self.pod.get("metadata") or {})

    @property
    def node(self) -> str:
        return str(cast("JsonObject", self.pod.get("spec") or {}).get("nodeName") or "")

    @property
    def deleted_at(self) -> float | None:
        """When its deletion is, or was, to be done."""
        return names.moment(self.meta.get("deletionTimestamp"))

    def age(self, now: float) -> float:
        return now - (names.moment(self.meta.get("creationTimestamp")) or now)

    def is_done(self) -> bool:
        """Whether its one container has ended well. The kubelet says so a second before it says that the pod
        has; but where something else might end the pod, and where a sidecar has yet to store outputs, the
        phase alone counts.
        """
        spec = cast("JsonObject", self.pod.get("spec") or {})
        before = cast("list[JsonObject]", spec.get("initContainers") or [])
        sidecar = any(one.get("name") == STAGE_OUT for one in before)
        limited = spec.get("activeDeadlineSeconds") is not None
        if self.phase not in ("Pending", "Running") or sidecar or limited or self.deleted_at is not None:
            return False
        return "terminated" in self.state(MAIN) and _code(self.state(MAIN)) == 0

    def ended_by_deletion(self) -> bool:
        """Whether it failed because it was deleted, and was not just deleted after it had failed."""
        if self.deleted_at is None:
            return False
        last = cast("JsonObject", self.state(MAIN).get("terminated") or {})
        if last.get("reason") == "OOMKilled":
            return False
        asked = self.deleted_at - cast("float", self.meta.get("deletionGracePeriodSeconds") or 0)
        ended = names.moment(last.get("finishedAt"))
        return ended is None or last.get("exitCode") in ASKED or asked <= ended + _OWN

    def verdict(self) -> Diagnosis | None:
        """Ours, if we have deleted it."""
        text = cast("Mapping[str, str]", self.meta.get("annotations") or {}).get(names.VERDICT)
        if not text:
            return None
        found = cast("Mapping[str, str]", json.loads(text))
        reason = Reason(found["reason"]) if found["reason"] else None
        return Diagnosis(Standing.ENDED, Outcome(found["outcome"]), reason, found["error"])

    def statuses(self) -> Iterator[JsonObject]:
        for key in ("initContainerStatuses", "containerStatuses"):
            yield from cast("list[JsonObject]", self.status.get(key) or [])

    def state(self, name: str) -> JsonObject:
        for one in self.statuses():
            if one.get("name") == name:
                return cast("JsonObject", one.get("state") or {})
        return {}

    def waiting(self) -> Iterator[tuple[str, JsonObject]]:
        for one in self.statuses():
            state = cast("JsonObject", one.get("state") or {})
            if "waiting" in state:
                yield str(one["name"]), cast("JsonObject", state["waiting"] or {})

    def init_failures(self) -> Iterator[tuple[str, JsonObject]]:
        for one in cast("list[JsonObject]", self.status.get("initContainerStatuses") or []):
            state = cast("JsonObject", one.get("state") or {})
            if _code(state):
                yield str(one["name"]), state

    def conditions(self, kind: str) -> Iterator[JsonObject]:
        for one in cast("list[JsonObject]", self.status.get("conditions") or []):
            if one.get("type") == kind:
                yield one

    def _container(self, name: str) -> JsonObject:
        spec = cast("JsonObject", self.pod.get("spec") or {})
        for key in ("containers", "initContainers"):
            for one in cast("list[JsonObject]", spec.get(key) or []):
                if one.get("name") == name:
                    return one
        return {}

    def image(self, name: str) -> str:
        return str(self._container(name).get("image") or "")

    def limit(self, name: str, what: str) -> str:
        resources = cast("Mapping[str, JsonObject]", self._container(name).get("resources") or {})
        return str(resources.get("limits", {}).get(what) or "")

    def started(self, name: str) -> float | None:
        state = self.state(name)
        inner = cast("JsonObject", state.get("terminated") or state.get("running") or {})
        return names.moment(inner.get("startedAt"))

    def ended(self, name: str) -> float | None:
        return names.moment(cast("JsonObject", self.state(name).get("terminated") or {}).get("finishedAt"))


def message_of(pod: JsonObject) -> str:
    """The last words of whoever staged out: the small report of an attempt."""
    seen = _Pod(pod)
    for name in (STAGE_OUT, MAIN, STAGE_IN):
        ended = cast("JsonObject", seen.state(name).get("terminated") or {})
        if ended.get("message"):
            return str(ended["message"])
    return ""


def main_started(pod: JsonObject) -> bool:
    """Whether the task's own container has surely run."""
    state = _Pod(pod).state(MAIN)
    ended = cast("JsonObject", state.get("terminated") or {})
    return "running" in state or bool(ended.get("startedAt"))


def verdict_of(pod: JsonObject) -> Diagnosis | None:
    """How it is to end since we have deleted it; None if we have not."""
    return _Pod(pod).verdict()


def is_over(pod: JsonObject) -> bool:
    seen = _Pod(pod)
    return seen.phase in ("Succeeded", "Failed") or seen.is_done()


def age_of(pod: JsonObject, now: float) -> float:
    """In seconds, since it was made."""
    return _Pod(pod).age(now)


def may_have_run(pod: JsonObject) -> bool:
    """Whether a node has had it: one that was lost may not tell."""
    return bool(_Pod(pod).node)


def _code(state: JsonObject) -> int | None:
    found = cast("JsonObject", state.get("terminated") or {}).get("exitCode")
    return found if isinstance(found, int) else None

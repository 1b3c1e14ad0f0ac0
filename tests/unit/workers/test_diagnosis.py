"""The truth table: what a pod's status means, in one sentence."""

from __future__ import annotations

from typing import Any

import pytest

from penstock.execution.manifest import Outcome
from penstock.model import Reason
from penstock_workers.kubernetes import names
from penstock_workers.kubernetes.collect import judge, parse_report
from penstock_workers.kubernetes.diagnosis import (
    Diagnosis,
    Patience,
    Standing,
    canceled_by_us,
    diagnose,
    vanished,
    verdict_text,
)
from penstock_workers.kubernetes.pod import STAGE_OUT
from penstock_workers.kubernetes.shape import Shape

CREATED = "2026-01-02T03:04:05Z"
LATER = "2026-01-02T03:04:15Z"
NOW = 1767323045.0


def pod(phase: str, state: dict[str, Any] | None = None, **status: Any) -> dict[str, Any]:
    deleted = status.pop("deleted", None)
    gone = {"deletionTimestamp": deleted, "deletionGracePeriodSeconds": 0} if deleted else {}
    node = {"nodeName": status.pop("node", "n")}
    containers = [{"name": "main", "state": state}] if state is not None else []
    limits = {"limits": {"memory": "100Mi"}}
    return {
        "metadata": {"name": "p", "creationTimestamp": CREATED, **gone},
        "spec": {
            **(node if node["nodeName"] else {}),
            "activeDeadlineSeconds": 5,
            "containers": [{"name": "main", "image": "i:1", "resources": limits}],
        },
        "status": {"phase": phase, "containerStatuses": containers, **status},
    }


def ended(code: int, **more: Any) -> dict[str, Any]:
    return {"terminated": {"exitCode": code, "startedAt": CREATED, "finishedAt": CREATED, **more}}


def waiting(reason: str, message: str = "") -> dict[str, Any]:
    return {"waiting": {"reason": reason, "message": message}}


def unscheduled(message: str) -> list[dict[str, Any]]:
    return [{"type": "PodScheduled", "status": "False", "reason": "Unschedulable", "message": message}]


def judged(found: dict[str, Any], verdict: Diagnosis) -> dict[str, Any]:
    """With our word on how it is to end."""
    found["metadata"]["annotations"] = {names.VERDICT: verdict_text(verdict)}
    return found


def disrupted(reason: str) -> list[dict[str, Any]]:
    return [{"type": "DisruptionTarget", "status": "True", "reason": reason}]


PULL = 'failed to pull and unpack image "docker.io/i:1": failed to resolve reference "docker.io/i:1": '


@pytest.mark.parametrize(
    ("found", "outcome", "reason", "sentence"),
    [
        (pod("Succeeded", ended(0)), Outcome.SUCCEEDED, None, ""),
        (pod("Failed", ended(3)), Outcome.FAILED, Reason.EXIT_CODE, "task 't' ended with exit code 3"),
        (pod("Failed", ended(137)), Outcome.FAILED, Reason.EXIT_CODE, "killed by SIGKILL (exit code 137)"),
        (
            pod("Failed", ended(137, reason="OOMKilled")),
            Outcome.FAILED,
            Reason.OUT_OF_MEMORY,
            "it needed more than its memory limit of 100Mi",
        ),
        (
            pod(
                "Failed",
                ended(128, reason="StartError", message='x: exec: "/no": stat /no: nothing: unknown'),
            ),
            Outcome.FAILED,
            Reason.EXIT_CODE,
            "task 't' cannot be started: \"/no\": stat /no: nothing",
        ),
        (
            pod("Failed", ended(137), reason="DeadlineExceeded"),
            Outcome.FAILED,
            Reason.DEADLINE,
            "stopped after 5 seconds, the time it is allowed",
        ),
        (
            pod("Failed", None, reason="Evicted", message="The node was low on resource: memory."),
            Outcome.FAILED,
            Reason.EVICTED,
            "was evicted: The node was low on resource: memory",
        ),
        (
            pod("Failed", ended(143), conditions=disrupted("PreemptionByScheduler")),
            Outcome.LOST,
            Reason.LOST,
            "a pod of higher priority took its place",
        ),
        (
            pod("Failed", ended(143), deleted=CREATED),
            Outcome.LOST,
            Reason.LOST,
            "deleted from outside while it ran",
        ),
        (pod("Failed", None, reason="NodeLost"), Outcome.LOST, Reason.LOST, "its node went down"),
        (
            pod("Failed", ended(137, reason="ContainerStatusUnknown")),
            Outcome.LOST,
            Reason.LOST,
            "its node lost it",
        ),
        (
            pod("Failed", None, initContainerStatuses=[{"name": "first", "state": ended(2)}]),
            Outcome.FAILED,
            Reason.EXIT_CODE,
            "init container 'first' of task 't' ended with exit code 2",
        ),
        (
            pod("Failed", None, initContainerStatuses=[{"name": "penstock-in", "state": ended(120)}]),
            Outcome.FAILED,
            Reason.INPUT,
            "the inputs of task 't' were not brought in",
        ),
        (
            pod("Pending", deleted=CREATED, node=""),
            Outcome.LOST,
            Reason.LOST,
            "the pod of task 't' was deleted from outside before it ran",
        ),
        (
            pod(
                "Failed",
                {"terminated": {"exitCode": 137, "reason": "ContainerStatusUnknown"}},
                deleted=CREATED,
            ),
            Outcome.LOST,
            Reason.LOST,
            "the pod of task 't' was deleted from outside before it ran",
        ),
        (
            pod("Failed", ended(3), deleted=LATER),
            Outcome.FAILED,
            Reason.EXIT_CODE,
            "task 't' ended with exit code 3",
        ),
        (
            pod("Failed", ended(137, reason="OOMKilled"), deleted=CREATED),
            Outcome.FAILED,
            Reason.OUT_OF_MEMORY,
            "it needed more than its memory limit of 100Mi",
        ),
    ],
)
def test_a_pod_that_ended(
    found: dict[str, Any], outcome: Outcome, reason: Reason | None, sentence: str
) -> None:
    seen = diagnose(found, "t", NOW + 60)

    assert (seen.standing, seen.outcome, seen.reason) == (Standing.ENDED, outcome, reason)
    assert sentence in seen.error


@pytest.mark.parametrize(
    ("found", "reason", "sentence"),
    [
        (
            pod("Pending", waiting("ImagePullBackOff", f"{PULL}not found")),
            Reason.IMAGE,
            "image 'i:1' of task 't' cannot be pulled: not found",
        ),
        (
            pod("Pending", waiting("InvalidImageName", "couldn't parse")),
            Reason.IMAGE,
            "image 'i:1' of task 't' cannot be pulled",
        ),
        (
            pod("Pending", waiting("CreateContainerConfigError", 'secret "s" not found')),
            Reason.INPUT,
            "the container of task 't' cannot be made: secret \"s\" not found",
        ),
    ],
)
def test_a_pod_that_will_come_to_nothing_is_to_be_given_up(
    found: dict[str, Any], reason: Reason, sentence: str
) -> None:
    seen = diagnose(found, "t", NOW + 60)

    assert (seen.standing, seen.outcome, seen.reason) == (Standing.STUCK, Outcome.FAILED, reason)
    assert sentence in seen.error


@pytest.mark.parametrize(
    "found",
    [
        pod("Pending", deleted=CREATED, node=""),
        pod("Failed", ended(137, reason="ContainerStatusUnknown"), deleted=CREATED),
    ],
    ids=["without a node", "on a node"],
)
def test_a_pod_given_up_ends_as_was_said_then(found: dict[str, Any]) -> None:
    given_up = Diagnosis(Standing.STUCK, Outcome.FAILED, Reason.IMAGE, "no such image")

    seen = diagnose(judged(found, given_up), "t", NOW)

    assert (seen.standing, seen.outcome) == (Standing.ENDED, Outcome.FAILED)
    assert (seen.reason, seen.error) == (Reason.IMAGE, "no such image")


@pytest.mark.parametrize(
    ("found", "standing", "sentence"),
    [
        (pod("Pending"), Standing.WAITING, ""),
        (pod("Running", {"running": {"startedAt": CREATED}}), Standing.RUNNING, ""),
        (pod("Unknown"), Standing.RUNNING, "does not answer"),
        (pod("Pending", waiting("ErrImagePull", "i/o timeout")), Standing.WAITING, "i/o timeout"),
        (
            pod("Pending", conditions=unscheduled("0/1 nodes are available: 1 Insufficient cpu.")),
            Standing.WAITING,
            "no node can take the pod of task 't': 0/1 nodes are available: 1 Insufficient cpu",
        ),
        (pod("Running", {"running": {}}, deleted=CREATED), Standing.RUNNING, ""),
        (pod("Pending", deleted=CREATED), Standing.WAITING, "deleted from outside"),
        (judged(pod("Pending", deleted=CREATED), canceled_by_us("t")), Standing.WAITING, "is being removed"),
    ],
)
def test_a_pod_that_may_go_on(found: dict[str, Any], standing: Standing, sentence: str) -> None:
    seen = diagnose(found, "t", NOW + 60)

    assert (seen.standing, seen.outcome) == (standing, None)
    assert sentence in seen.error


def test_an_image_that_a_registry_may_still_give_is_waited_for_longer() -> None:
    slow = pod("Pending", waiting("ErrImagePull", "i/o timeout"))

    assert diagnose(slow, "t", NOW + 299).standing is Standing.WAITING
    assert diagnose(slow, "t", NOW + 301).reason is Reason.IMAGE


def test_a_pod_without_a_node_waits_as_long_as_it_may() -> None:
    found = pod("Pending", conditions=unscheduled("0/1 nodes are available: 1 Insufficient cpu."))

    assert diagnose(found, "t", NOW + 899).standing is Standing.WAITING
    assert diagnose(found, "t", NOW + 901).reason is Reason.UNSCHEDULABLE
    assert diagnose(found, "t", NOW + 1e9, patience=Patience(pending=0)).standing is Standing.WAITING


@pytest.mark.parametrize(
    "found",
    [
        pod("Failed", ended(143)),
        pod("Failed", ended(137), deleted=CREATED),
        pod("Running", ended(0), deleted=CREATED),
    ],
)
def test_a_pod_that_we_stopped_was_canceled(found: dict[str, Any]) -> None:
    assert diagnose(judged(found, canceled_by_us("t")), "t", NOW).outcome is Outcome.CANCELED


def test_a_deleted_pod_whose_node_does_not_answer_is_lost_in_the_end() -> None:
    found = pod("Running", {"running": {"startedAt": CREATED}}, deleted=CREATED)

    assert diagnose(found, "t", NOW + 119).standing is Standing.RUNNING
    assert diagnose(found, "t", NOW + 121).reason is Reason.LOST


def test_a_task_that_succeeded_before_we_stopped_it_succeeded() -> None:
    found = judged(pod("Succeeded", ended(0)), canceled_by_us("t"))

    assert diagnose(found, "t", NOW).outcome is Outcome.SUCCEEDED


class TestJudge:
    """The report in the store against the pod in the cluster."""

    GONE = vanished("t")
    DONE = diagnose(pod("Succeeded", ended(0)), "t", NOW)

    def test_a_plain_task_has_no_report(self) -> None:
        assert judge(Shape.PLAIN, "t", self.DONE, None) is self.DONE

    def test_success_without_a_report_is_no_success(self) -> None:
        found = judge(Shape.IN_PLACE, "t", self.DONE, None)

        assert (found.outcome, found.reason) == (Outcome.FAILED, Reason.OUTPUT)

    def test_a_report_outlives_its_pod(self) -> None:
        assert judge(Shape.IN_PLACE, "t", self.GONE, {"exit_code": 0}).outcome is Outcome.SUCCEEDED
        failed = judge(Shape.IN_PLACE, "t", self.GONE, {"exit_code": 3})
        assert (failed.outcome, failed.error) == (Outcome.FAILED, "task 't' ended with exit code 3")

    def test_a_report_of_a_command_that_was_made_to_end_is_no_failure_of_its_own(self) -> None:
        assert judge(Shape.IN_PLACE, "t", self.GONE, {"exit_code": 143}).outcome is Outcome.LOST

    def test_the_sidecars_report_does_not_know_how_the_task_ended(self) -> None:
        assert judge(Shape.BESIDE, "t", self.GONE, {}).outcome is Outcome.LOST
        assert judge(Shape.BESIDE, "t", self.DONE, {}).outcome is Outcome.SUCCEEDED

    def test_what_went_wrong_in_staging_is_told(self) -> None:
        late = judge(
            Shape.IN_PLACE, "t", self.DONE, {"exit_code": 0, "failed": {"stage": "out", "text": "no room"}}
        )
        early = judge(Shape.BESIDE, "t", self.GONE, {"failed": {"stage": "in", "text": "no input"}})

        assert (late.reason, early.reason) == (Reason.OUTPUT, Reason.INPUT)
        assert "no room" in late.error
        assert "no input" in early.error

    def test_out_of_memory_says_more_than_an_exit_code(self) -> None:
        oom = diagnose(pod("Failed", ended(137, reason="OOMKilled")), "t", NOW)

        assert judge(Shape.IN_PLACE, "t", oom, {"exit_code": 137}).reason is Reason.OUT_OF_MEMORY

    @pytest.mark.parametrize(
        "text", [None, "", "killed", "[]", '{"version": 2}', '{"version": 1, "long": true}']
    )
    def test_other_last_words_of_a_container_are_no_report(self, text: str | None) -> None:
        assert parse_report(text) is None


@pytest.mark.parametrize("phase", ["Pending", "Running"])
def test_a_pod_whose_one_container_has_ended_well_is_done_before_its_phase_says_so(phase: str) -> None:
    found = pod(phase, ended(0))
    del found["spec"]["activeDeadlineSeconds"]
    seen = diagnose(found, "t", NOW)
    assert (seen.standing, seen.outcome) == (Standing.ENDED, Outcome.SUCCEEDED)


@pytest.mark.parametrize(
    ("state", "spec", "deleted"),
    [
        (ended(1), {}, None),
        (ended(0), {"activeDeadlineSeconds": 5}, None),
        (ended(0), {"initContainers": [{"name": STAGE_OUT}]}, None),
        (ended(0), {}, LATER),
    ],
)
def test_what_may_still_end_otherwise_waits_for_the_phase(
    state: dict[str, Any], spec: dict[str, Any], deleted: str | None
) -> None:
    found = pod("Running", state, deleted=deleted)
    del found["spec"]["activeDeadlineSeconds"]
    found["spec"] |= spec
    assert diagnose(found, "t", NOW).standing is not Standing.ENDED

"""What is told of attempts: each end until it is recorded, each change of what one waits for once."""

from __future__ import annotations

from datetime import UTC, datetime
from typing import Any

import pytest

from penstock.execution.launcher import LauncherError
from penstock.model import Reason
from penstock_workers.kubernetes import names
from penstock_workers.kubernetes.diagnosis import Diagnosis, Patience
from penstock_workers.kubernetes.faults import UnreachableError
from penstock_workers.kubernetes.witness import AGAIN, SOON, Witness, trimmed
from penstock_workers.remote import Seen

UNSCHEDULED = [{"type": "PodScheduled", "status": "False", "message": "0/1 nodes are available."}]


class World:
    """A witness, its clock, and what came of it."""

    def __init__(self) -> None:
        self.now = 1_800_000_000.0
        self.told: list[Seen] = []
        self.given_up: list[Reason | None] = []
        self.trouble: LauncherError | None = None
        self.refuses = 0
        self.witness = Witness(self._hear, self._give_up, Patience(10.0, 5.0), clock=lambda: self.now)

    def _hear(self, seen: Seen) -> None:
        self.told.append(seen)
        if self.refuses:
            self.refuses -= 1
            raise RuntimeError("the database is away")

    def _give_up(self, pod: Any, seen: Diagnosis) -> None:
        self.given_up.append(seen.reason)
        if self.trouble is not None:
            raise self.trouble

    def pod(self, phase: str, *, age: float = 0.0, recorded: bool = False, **status: Any) -> dict[str, Any]:
        made = datetime.fromtimestamp(self.now - age, UTC).isoformat()
        marks = {names.TASK: "t", **({names.RECORDED: "true"} if recorded else {})}
        meta = {
            "name": "p",
            "creationTimestamp": made,
            "labels": {names.RUN: "run", names.ATTEMPT: "attempt"},
            "annotations": marks,
        }
        spec = {"nodeName": "n", "containers": [{"name": "main", "image": "i"}]}
        return {"metadata": meta, "spec": spec, "status": {"phase": phase, **status}}

    def after(self, seconds: float) -> None:
        self.now += seconds
        self.witness.look()

    @property
    def ends(self) -> int:
        return sum(seen.ended for seen in self.told)


@pytest.fixture
def world() -> World:
    return World()


def test_an_end_is_told_at_once_and_again_until_it_is_recorded(world: World) -> None:
    world.witness.take(world.pod("Succeeded"), False)
    assert world.told[0].ended
    assert (world.told[0].run_id, world.told[0].attempt_id) == ("run", "attempt")

    world.witness.take(world.pod("Succeeded"), False)
    world.after(AGAIN - 1)
    assert world.ends == 1
    world.after(2)
    assert world.ends == 2

    world.witness.take(world.pod("Succeeded", recorded=True), False)
    world.after(2 * AGAIN)
    assert world.ends == 2


def test_an_end_that_was_not_taken_is_told_again_soon(world: World) -> None:
    world.refuses = 1
    world.witness.take(world.pod("Failed"), False)

    world.after(SOON - 1)
    assert world.ends == 1
    world.after(2)
    assert world.ends == 2


def test_a_pod_that_goes_without_being_recorded_has_ended(world: World) -> None:
    world.witness.take(world.pod("Running"), False)
    world.witness.take(world.pod("Running"), True)

    assert [seen.what["gone"] for seen in world.told] == [True]
    world.after(2 * AGAIN)
    assert world.ends == 1


def test_a_pod_that_went_while_nothing_was_heard_has_ended(world: World) -> None:
    world.witness.take(world.pod("Running"), False)
    world.witness.listed([])
    world.after(1)

    assert world.ends == 1


def test_a_recorded_pod_is_never_told_of(world: World) -> None:
    world.witness.take(world.pod("Failed", recorded=True), False)
    world.witness.take(world.pod("Failed", recorded=True), True)
    world.after(2 * AGAIN)

    assert not world.told


def test_a_pod_that_runs_through_is_told_of_once(world: World) -> None:
    for phase in ("Pending", "Running", "Succeeded"):
        world.witness.take(world.pod(phase), False)
        world.after(1)

    assert [seen.ended for seen in world.told] == [True]


def test_what_a_pod_waits_for_is_told_as_it_changes(world: World) -> None:
    pod = world.pod("Pending", conditions=UNSCHEDULED)
    world.witness.take(pod, False)
    for _ in range(3):
        world.after(1)
    world.witness.take({**pod, "status": {"phase": "Running"}}, False)
    world.after(1)

    assert [seen.why for seen in world.told] == [
        "no node can take the pod of task 't': 0/1 nodes are available",
        "",
    ]


def test_of_a_pod_that_was_there_before_it_is_said_how_it_stands(world: World) -> None:
    world.witness.take(world.pod("Running", age=10), False)
    world.after(1)

    assert [(seen.ended, seen.why) for seen in world.told] == [(False, "")]


def test_a_pod_that_waits_in_vain_is_given_up_again_and_again_until_that_is_done(world: World) -> None:
    world.trouble = UnreachableError("away")
    world.witness.take(world.pod("Pending", conditions=UNSCHEDULED), False)

    world.after(11)
    world.after(1)
    assert world.given_up == [Reason.UNSCHEDULABLE]
    world.after(SOON)
    assert world.given_up == [Reason.UNSCHEDULABLE] * 2
    assert not world.ends


def test_a_cluster_that_is_away_is_what_waiting_pods_wait_for(world: World) -> None:
    world.witness.take(world.pod("Pending"), False)
    world.now += 1
    world.witness.look("the server is away")

    assert [seen.why for seen in world.told] == ["the server is away"]


def test_of_a_pod_only_what_tells_its_end_is_kept(world: World) -> None:
    pod = world.pod("Running", containerStatuses=[{"name": "main", "state": {}, "imageID": "x"}])
    pod["metadata"]["managedFields"] = [{"much": "text"}]
    pod["metadata"]["annotations"]["other/mark"] = "x"
    pod["spec"]["containers"][0]["env"] = [{"name": "PENSTOCK_SHEET", "value": "{}"}]

    assert trimmed(pod) == trimmed(trimmed(pod))
    text = str(trimmed(pod))
    assert not [word for word in ("much", "PENSTOCK_SHEET", "imageID", "other/mark") if word in text]

"""The parts of a run on workers die or go away with pods in flight, and it ends as if they had not."""

from __future__ import annotations

import random
import subprocess
import time
from collections.abc import Callable, Iterator
from contextlib import AbstractContextManager, nullcontext
from typing import TypeAlias

import pytest

from tests.faults.conftest import FULL
from tests.faults.node import Node
from tests.faults.plant import Plant, built
from tests.faults.pod_runs import Course, PodRuns
from tests.faults.relay import Relay
from tests.faults.reliability import PROPERTY, Trouble

pytestmark = [
    pytest.mark.service("servers"),
    pytest.mark.service("kubernetes"),
    pytest.mark.service("s3"),
    pytest.mark.xdist_group("faults-workers"),
    pytest.mark.parametrize("seed", range(20 if FULL else 1)),
]

Disturb: TypeAlias = Callable[[Course], None]
"""Called at a random moment with attempts in flight."""
Keep: TypeAlias = Callable[[str, object], None]

OUTAGE = 30.0
"""Seconds that MinIO, or the API server, is away."""
UNWATCHED = 10.0
"""Seconds without kubelet."""
FEWEST = 10
"""Messages that a run has."""
TOLD, RELAYED = "told", "relayed"
"""The queue that messages go to, and the one from which workers get them."""


@pytest.fixture(scope="module")
def runs(tmp_path_factory: pytest.TempPathFactory) -> Iterator[PodRuns]:
    with built() as plant, pytest.MonkeyPatch.context() as patch:
        for name, value in plant.installation.variables.items():
            if name.startswith("AWS_"):
                patch.setenv(name, value)
        yield PodRuns(plant, tmp_path_factory.mktemp("workers"))


@pytest.fixture
def plant(runs: PodRuns) -> Plant:
    """With all of its parts at work."""
    runs.plant.mend()
    return runs.plant


class Ordeal:
    """Runs the pipeline to its end, disturbed once, and keeps for the page what was wrong then."""

    def __init__(self, runs: PodRuns, seed: int, keep: Keep) -> None:
        self._runs = runs
        self._seed = seed
        self._keep = keep

    def __call__(
        self,
        fault: str,
        disturb: Disturb | None,
        *,
        lost: bool = False,
        options: tuple[str, ...] = (),
        around: AbstractContextManager[object] | None = None,
    ) -> None:
        """`lost`: attempts may be, with their pods. Without `disturb` it is disturbed all the time, by what
        is `around` it.
        """
        dice = random.Random(f"{fault}/{self._seed}")
        count, delay = dice.randrange(int(self._runs.reference.lines * 0.6)), dice.uniform(0.0, 0.5)
        began = time.monotonic()
        with around or nullcontext(), self._runs.course(*options) as course:
            course.reach(count)
            time.sleep(delay)  # which step of their work they are at
            flying = course.in_flight()
            if disturb is not None:
                disturb(course)
            verdict = course.judge(lost_allowed=lost)
        took = time.monotonic() - began
        trouble = Trouble(fault, self._seed, flying, verdict.lost, round(took, 1), verdict.problems)
        self._keep(PROPERTY, trouble.to_text())
        assert verdict.problems == [], self._runs.plant.installation.told()


@pytest.fixture
def ordeal(runs: PodRuns, plant: Plant, seed: int, record_property: Callable[[str, object], None]) -> Ordeal:
    return Ordeal(runs, seed, record_property)


@pytest.fixture
def dice(seed: int) -> random.Random:
    return random.Random(seed)


def test_a_worker_is_killed(plant: Plant, dice: random.Random, ordeal: Ordeal) -> None:
    """One of two; nobody starts it again."""
    ordeal("a worker killed", lambda course: plant.workers[dice.randrange(2)].process.kill())


def test_the_watcher_is_killed(plant: Plant, ordeal: Ordeal) -> None:
    ordeal("the watcher killed", lambda course: plant.kill_watcher())


def test_the_broker_forgets_everything(plant: Plant, dice: random.Random, ordeal: Ordeal) -> None:
    def restart(course: Course) -> None:
        (plant.redis.crash if dice.random() < 0.5 else plant.redis.stop)()
        plant.redis.start()

    ordeal("Redis restarted empty", restart)


def test_a_pod_is_deleted_before_it_was_seen_running(
    plant: Plant, dice: random.Random, ordeal: Ordeal
) -> None:
    ordeal("a pod deleted before it ran", lambda course: _delete(plant, course, "Pending", dice), lost=True)


def test_a_pod_is_deleted_while_it_runs(plant: Plant, dice: random.Random, ordeal: Ordeal) -> None:
    ordeal("a pod deleted as it ran", lambda course: _delete(plant, course, "Running", dice), lost=True)


def _delete(plant: Plant, course: Course, phase: str, dice: random.Random) -> None:
    name = plant.sightings.wait(course.run_id, phase)
    plant.cluster.delete_pod(name, grace=dice.choice([0, None]))


def test_every_message_comes_twice(plant: Plant, ordeal: Ordeal) -> None:
    with plant.workers_of(RELAYED):
        relay = Relay(plant.redis.url, TOLD, RELAYED, lambda number: 2)
        ordeal("every message doubled", None, options=("--queue", TOLD), around=relay)
    assert relay.given == 2 * relay.taken >= 2 * FEWEST


def test_every_tenth_message_is_lost(plant: Plant, dice: random.Random, ordeal: Ordeal) -> None:
    first = dice.randrange(10)
    with plant.workers_of(RELAYED):
        relay = Relay(plant.redis.url, TOLD, RELAYED, lambda number: 0 if number % 10 == first else 1)
        ordeal("every tenth message lost", None, options=("--queue", TOLD), around=relay)
    assert relay.taken - relay.given >= relay.taken // 10 >= FEWEST // 10


def test_the_database_is_restarted(plant: Plant, dice: random.Random, ordeal: Ordeal) -> None:
    def restart(course: Course) -> None:
        (plant.postgres.crash if dice.random() < 0.5 else plant.postgres.stop)()
        plant.postgres.start()

    ordeal("PostgreSQL restarted", restart)


def test_the_artifact_store_is_away(plant: Plant, dice: random.Random, ordeal: Ordeal) -> None:
    def leave(course: Course) -> None:
        (plant.minio.crash if dice.random() < 0.5 else plant.minio.stop)()
        _wait(course, OUTAGE)
        plant.minio.start()

    ordeal(f"MinIO {OUTAGE:.0f} s away", leave)


def test_workers_are_cut_off_from_the_api_server(plant: Plant, ordeal: Ordeal) -> None:
    def cut(course: Course) -> None:
        plant.doorway.shut()
        _wait(course, OUTAGE)
        plant.doorway.open()

    ordeal(f"workers cut off from the API server for {OUTAGE:.0f} s", cut)


@pytest.mark.alone
def test_the_api_server_is_away(seed: int, plant: Plant, ordeal: Ordeal) -> None:
    """Killed, or so that it answers nothing."""
    node = Node()

    def leave(course: Course) -> None:
        (node.suspend if seed % 2 else node.kill)("apiserver")
        try:
            _wait(course, OUTAGE)
        finally:
            if seed % 2:
                node.resume("apiserver")
            node.mend()

    ordeal(f"the API server {'silent' if seed % 2 else 'killed'}, {OUTAGE:.0f} s away", leave)


@pytest.mark.alone
def test_the_kubelet_is_killed(plant: Plant, ordeal: Ordeal) -> None:
    node = Node()

    def kill(course: Course) -> None:
        node.kill("kubelet")
        try:
            _wait(course, UNWATCHED)
        finally:
            node.mend()

    ordeal(f"the kubelet killed, {UNWATCHED:.0f} s away", kill)


def _wait(course: Course, seconds: float) -> None:
    """The run does not end meanwhile."""
    with pytest.raises(subprocess.TimeoutExpired):
        course.client.wait(seconds)

"""Random pipelines on workers, under every kind of chaos: what is recorded in the end is what the oracle of
the planner's tests says, and no attempt was started twice.
"""

from __future__ import annotations

import random
from collections.abc import Iterator

import pytest
from hypothesis import assume, given
from hypothesis import strategies as st

from penstock.model import ROOT, State, TaskRun
from penstock.store import AttemptState, Store
from tests.databases import Databases
from tests.unit.execution.control_worlds import submit
from tests.unit.execution.test_control_properties import (
    FEW,
    SEEDS,
    check,
    check_history,
    random_pipeline,
    some,
)
from tests.unit.workers.stepper_worlds import Chaos, Scene

DYING = Chaos(crash=0.05, lose=0.3, double=0.3)
SLEEPING = Chaos(sleep=0.2, double=0.2)
LARGEST = 30
"""Tasks; each of them takes many small transactions here."""
EVERYTHING = Chaos(crash=0.03, sleep=0.1, lose=0.3, double=0.3, delete=0.1, refuse=0.2)


@pytest.fixture(scope="module")
def store(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Store]:
    with Store.open(f"sqlite:///{tmp_path_factory.mktemp('steppers')}/penstock.db") as opened:
        yield opened


@pytest.fixture(scope="module")
def postgres(databases: Databases, postgres_template: str) -> Iterator[Store]:
    with databases.fresh(postgres_template) as url, Store.open(url) as opened:
        yield opened


def check_left(store: Store, run_id: str, scene: Scene, records: dict[str, TaskRun]) -> None:
    """Whatever happened: one start and one end of each attempt, and nothing that hangs on."""
    assert set(scene.cluster.starts.values()) <= {1}
    attempts = {one.id: one for one in store.attempts.list(run_id)}
    assert set(scene.cluster.starts) <= attempts.keys()
    for attempt in attempts.values():
        assert attempt.state is not AttemptState.RUNNING
        told = scene.ends.get(attempt.id)
        assert told is None or attempt.state.value == told.outcome.value
    check_history(store, run_id)
    assert all(record.state.ended for record in records.values())
    assert store.launches.open(run_id) == []
    assert store.launches.count() == 0
    run = store.runs.get(run_id)
    assert run.owner is None
    assert run.state in (records[ROOT].state, State.FAILED)


WORK = given(
    shape=SEEDS,
    world=SEEDS,
    order=SEEDS,
    workers=st.integers(1, 3),
    chaos=st.sampled_from([Chaos(), DYING, SLEEPING, EVERYTHING]),
)


@some(8)
@WORK
def test_workers_that_die_and_sleep_do_the_work_of_one(
    store: Store, shape: int, world: int, order: int, workers: int, chaos: Chaos
) -> None:
    workers_do_the_work_of_one(store, shape, world, order, workers, chaos)


@pytest.mark.service("postgres")
@FEW
@WORK
def test_workers_that_die_and_sleep_do_the_work_of_one_on_postgresql(
    postgres: Store, shape: int, world: int, order: int, workers: int, chaos: Chaos
) -> None:
    workers_do_the_work_of_one(postgres, shape, world, order, workers, chaos)


def workers_do_the_work_of_one(
    store: Store, shape: int, world: int, order: int, workers: int, chaos: Chaos
) -> None:
    grown, expected = random_pipeline(shape, world)
    assume(len(expected.states) <= LARGEST)
    run = submit(store, grown)
    store.agenda.put(run.id, "celery")
    scene = Scene(store, run.id, world, random.Random(order), chaos, workers)

    records = scene.to_the_end()

    check(records, expected)
    assert scene.launches == expected.launches
    check_left(store, run.id, scene, records)


CANCELED = given(shape=SEEDS, world=SEEDS, order=SEEDS, workers=st.integers(1, 3))


@some(8)
@CANCELED
def test_a_canceled_run_leaves_nothing_behind(
    store: Store, shape: int, world: int, order: int, workers: int
) -> None:
    grown, expected = random_pipeline(shape, world)
    assume(len(expected.states) <= LARGEST)
    run = submit(store, grown)
    store.agenda.put(run.id, "celery")
    scene = Scene(store, run.id, world, random.Random(order), EVERYTHING, workers, cancel=0.1)

    check_left(store, run.id, scene, scene.to_the_end())

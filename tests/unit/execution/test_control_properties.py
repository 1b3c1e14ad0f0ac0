"""Random pipelines in random worlds, under every kind of chaos: what control records is what the oracle says.

The oracle is that of the planner's tests, which shares no code with us.
"""

from __future__ import annotations

import os
import random
from collections.abc import Iterator
from unittest.mock import patch

import pytest
from hypothesis import assume, given, settings
from hypothesis import strategies as st

from penstock.execution.reopening import reopen_run
from penstock.model import ROOT, Pipeline, State, TaskRun
from penstock.store import Store
from tests.databases import Databases
from tests.unit.execution.control_worlds import (
    ARGUMENTS,
    Chaos,
    Scene,
    submit,
)
from tests.unit.planner import worlds
from tests.unit.planner.worlds import Builder, Expected, Oracle

EVERYTHING = Chaos(crash=0.03, repeat=0.2, lose=0.1, late=0.1)
SEEDS = st.integers(0, 10**9)
LARGEST = 60


def some(part: int) -> settings:
    """One in `part` of the usual number of examples: each of them writes a database."""
    profile = settings.default
    assert profile is not None
    return settings(max_examples=profile.max_examples // part)


FEW = settings(max_examples=50 if os.environ.get("PENSTOCK_FULL") else 8)
"""On a server each example takes many round trips; what SQLite has shown need not be shown again."""


@pytest.fixture(scope="module")
def store(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Store]:
    with Store.open(f"sqlite:///{tmp_path_factory.mktemp('control')}/penstock.db") as opened:
        yield opened


@pytest.fixture(scope="module")
def postgres(databases: Databases, postgres_template: str) -> Iterator[Store]:
    with databases.fresh(postgres_template) as url, Store.open(url) as opened:
        yield opened


def random_pipeline(shape: int, world: int) -> tuple[Pipeline, Expected]:
    """With the oracle's account of it. Large ones show nothing that small ones do not, and take long."""
    grown = Builder(random.Random(shape)).pipeline()
    expected = Oracle(grown, world, ARGUMENTS).found
    assume(len(expected.states) <= LARGEST)
    return grown, expected


def check(records: dict[str, TaskRun], expected: Expected) -> None:
    assert {path: record.state.value for path, record in records.items()} == expected.states
    outputs = {path: dict(record.outputs.parameters) for path, record in records.items()}
    assert outputs == expected.outputs


def check_history(store: Store, run_id: str) -> None:
    """What was written, in the order of writing, leads to what stands there now."""
    found: dict[str, tuple[State, int]] = {}
    revision = 0
    for change in store.tasks.history(run_id):
        assert change.revision == revision + 1
        revision = change.revision
        if change.state is None:
            del found[change.path]
        else:
            found[change.path] = (change.state, change.generation)
    assert found == {record.path: (record.state, record.generation) for record in store.tasks.load(run_id)}


ANY_ORDER = given(shape=SEEDS, world=SEEDS, order=SEEDS, chaos=st.sampled_from([Chaos(), EVERYTHING]))


@some(4)
@ANY_ORDER
def test_every_interleaving_ends_as_the_oracle_says(
    store: Store, shape: int, world: int, order: int, chaos: Chaos
) -> None:
    every_interleaving_ends_as_the_oracle_says(store, shape, world, order, chaos)


@pytest.mark.service("postgres")
@FEW
@ANY_ORDER
def test_every_interleaving_ends_as_the_oracle_says_on_postgresql(
    postgres: Store, shape: int, world: int, order: int, chaos: Chaos
) -> None:
    every_interleaving_ends_as_the_oracle_says(postgres, shape, world, order, chaos)


def every_interleaving_ends_as_the_oracle_says(
    store: Store, shape: int, world: int, order: int, chaos: Chaos
) -> None:
    grown, expected = random_pipeline(shape, world)
    run = submit(store, grown)
    scene = Scene(store, run.id, grown, world, random.Random(order), chaos)

    records = scene.to_the_end()

    check(records, expected)
    assert scene.launches == expected.launches
    check_history(store, run.id)
    assert store.attempts.live(run.id) == []
    ended = store.runs.get(run.id)
    assert (ended.state.value, dict(ended.outputs.parameters)) == (
        expected.states[ROOT],
        expected.outputs[ROOT],
    )
    scene.publish_again()
    assert scene.records() == records


SEVERAL = given(shape=SEEDS, world=SEEDS, order=SEEDS, controls=st.integers(2, 3))


@some(12)
@SEVERAL
def test_several_controls_do_the_work_of_one(
    store: Store, shape: int, world: int, order: int, controls: int
) -> None:
    several_controls_do_the_work_of_one(store, shape, world, order, controls)


@pytest.mark.service("postgres")
@FEW
@SEVERAL
def test_several_controls_do_the_work_of_one_on_postgresql(
    postgres: Store, shape: int, world: int, order: int, controls: int
) -> None:
    several_controls_do_the_work_of_one(postgres, shape, world, order, controls)


def several_controls_do_the_work_of_one(
    store: Store, shape: int, world: int, order: int, controls: int
) -> None:
    grown, expected = random_pipeline(shape, world)
    run = submit(store, grown)
    rng = random.Random(order)
    scene = Scene(store, run.id, grown, world, rng, EVERYTHING, controls=controls, exclusive=False)

    check(scene.to_the_end(), expected)

    assert scene.launches == expected.launches
    check_history(store, run.id)


RETRIED = given(shape=SEEDS, world=SEEDS, order=SEEDS, named=st.booleans())


@some(8)
@RETRIED
def test_a_retried_run_ends_as_if_nothing_had_failed(
    store: Store, shape: int, world: int, order: int, named: bool
) -> None:
    a_retried_run_ends_as_if_nothing_had_failed(store, shape, world, order, named)


@pytest.mark.service("postgres")
@FEW
@RETRIED
def test_a_retried_run_ends_as_if_nothing_had_failed_on_postgresql(
    postgres: Store, shape: int, world: int, order: int, named: bool
) -> None:
    a_retried_run_ends_as_if_nothing_had_failed(postgres, shape, world, order, named)


def a_retried_run_ends_as_if_nothing_had_failed(
    store: Store, shape: int, world: int, order: int, named: bool
) -> None:
    """The second time nothing fails any more; what comes late from the first time is passed over."""
    grown, _ = random_pipeline(shape, world)
    run = submit(store, grown)
    rng = random.Random(order)
    scene = Scene(store, run.id, grown, world, rng, EVERYTHING)
    records = scene.to_the_end()
    path = rng.choice(sorted(records)[1:]) if named or records[ROOT].state is State.SUCCEEDED else ""
    reopen_run(store, run.id, path, {})
    with patch.object(worlds, "FAIL_PERCENT", 0):
        expected = Oracle(grown, world, ARGUMENTS).found

        check(scene.to_the_end(), expected)

    check_history(store, run.id)
    if path:
        assert scene.records()[path].generation > 0

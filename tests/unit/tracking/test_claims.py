"""How far MLflow has been told of a run, and by whom."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import pytest

from penstock.model import ROOT, State, TaskKind, TaskRun
from penstock.store import RunRecord, Store
from penstock.tracking.claims import TOPIC, Claim, Claims, OvertakenError, refusals
from tests.unit.store.examples import new_run, task

DEAD = "host/1/dead"


@pytest.fixture
def store(tmp_path: Path) -> Iterator[Store]:
    with Store.open(f"sqlite:///{tmp_path}/penstock.db") as opened:
        yield opened


@pytest.fixture
def run(store: Store) -> RunRecord:
    made = new_run(store)
    store.tasks.record(made.id, [TaskRun(ROOT, TaskKind.ROOT, State.RUNNING)])
    store.runs.transition(made.id, (State.PENDING,), State.RUNNING)
    return made


def claims(store: Store, holder: str = "host/2/me") -> Claims:
    return Claims(store, holder, lambda name: name == DEAD)


def claim(store: Store, run: RunRecord, holder: str = "host/2/me") -> Claim:
    found = claims(store, holder).claim(run.id)
    assert found is not None
    return found


def end(store: Store, run: RunRecord) -> int:
    store.tasks.record(run.id, [TaskRun(ROOT, TaskKind.ROOT, State.SUCCEEDED)])
    store.runs.transition(run.id, (State.RUNNING,), State.SUCCEEDED)
    return store.runs.revision(run.id)


def test_a_run_that_was_never_offered_has_nothing_to_deliver(store: Store, run: RunRecord) -> None:
    assert claims(store).claim(run.id) is None and claims(store).waiting() == []


def test_one_process_at_a_time_has_the_claim(store: Store, run: RunRecord) -> None:
    claims(store).offer(run.id)
    held = claim(store, run)
    assert claims(store, "host/3/other").claim(run.id) is None
    held.hand_back("no answer")
    (waiting,) = claims(store).waiting(run.id)
    assert waiting.error == "no answer" and claims(store, "host/3/other").claim(run.id) is not None


def test_nobody_waits_for_the_claim_of_a_dead_process(store: Store, run: RunRecord) -> None:
    claims(store).offer(run.id)
    dead = claim(store, run, DEAD)
    dead.revision = 1
    dead.keep(now=True)
    assert claim(store, run).revision == 1
    with pytest.raises(OvertakenError):
        dead.keep(now=True)
    assert not dead.message.payload.get("refused")


def test_it_is_delivered_when_the_run_has_ended_and_its_last_revision_is_told(
    store: Store, run: RunRecord
) -> None:
    claims(store).offer(run.id)
    held = claim(store, run)
    held.revision = store.runs.revision(run.id)
    assert not held.finish(), "the run has not ended"
    last = end(store, run)
    assert not held.finish(), "its end is not told"
    held.revision = last
    assert held.finish() and claims(store).waiting() == []


def test_a_run_that_begins_again_goes_on_where_the_last_delivery_ended(store: Store, run: RunRecord) -> None:
    claims(store).offer(run.id)
    held = claim(store, run)
    held.revision = end(store, run)
    assert held.finish()
    claims(store).offer(run.id)
    assert claim(store, run).revision == held.revision
    (waiting,) = claims(store).waiting()
    assert waiting.held_seconds > 0


def test_all_of_it_comes_again_where_that_is_asked_for(store: Store, run: RunRecord) -> None:
    claims(store).offer(run.id)
    held = claim(store, run)
    held.revision = end(store, run)
    held.refuse("train", "a bad name")
    assert held.finish()
    claims(store).offer(run.id)
    again = claims(store).claim(run.id, from_start=True)
    assert again is not None and (again.revision, again.refused) == (0, {})


def test_what_was_refused_is_kept_and_not_tried_again(store: Store, run: RunRecord) -> None:
    claims(store).offer(run.id)
    held = claim(store, run)
    store.tasks.record(run.id, [task("train", State.SUCCEEDED)])
    held.revision = end(store, run)
    held.refuse("train", "a bad name")
    assert held.finish()
    (waiting,) = claims(store).waiting()
    assert waiting.refused and (waiting.error, refusals(waiting)) == (
        "train: a bad name",
        {"train": "a bad name"},
    )
    assert claims(store).claim(run.id) is None


def test_a_message_of_a_transaction_that_failed_offers_nothing(store: Store, run: RunRecord) -> None:
    with pytest.raises(ZeroDivisionError), store.transaction():
        claims(store).offer(run.id)
        raise ZeroDivisionError
    assert store.outbox.waiting(TOPIC) == []

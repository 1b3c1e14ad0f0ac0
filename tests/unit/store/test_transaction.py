"""Several operations in one commit."""

from __future__ import annotations

import threading

import pytest

from penstock.errors import IllegalTransitionError, NotFoundError, StoreError
from penstock.model import State
from penstock.store import RunRecord, Store
from tests.unit.store.examples import task


def test_what_fails_together_is_not_recorded_at_all(store: Store, run: RunRecord) -> None:
    with pytest.raises(ZeroDivisionError), store.transaction():
        store.tasks.record(run.id, [task()])
        store.attempts.claim(run.id, "train", 0, 1, owner="me")
        assert store.tasks.find(run.id, "train") is not None
        raise ZeroDivisionError
    assert store.tasks.load(run.id) == []
    assert store.attempts.list(run.id) == []
    assert store.tasks.history(run.id) == []


def test_an_inner_transaction_joins_the_outer_one(store: Store, run: RunRecord) -> None:
    with pytest.raises(ZeroDivisionError), store.transaction():
        with store.transaction():
            store.tasks.record(run.id, [task()])
        raise ZeroDivisionError
    assert store.tasks.load(run.id) == []
    with store.transaction(), store.transaction():
        store.tasks.record(run.id, [task()])
    assert len(store.tasks.load(run.id)) == 1


def test_a_transaction_with_a_failed_part_cannot_commit(store: Store, run: RunRecord) -> None:
    store.tasks.record(run.id, [task("done", State.SUCCEEDED)])
    with pytest.raises(StoreError, match="nothing of the transaction was recorded"), store.transaction():
        store.tasks.record(run.id, [task()])
        with pytest.raises(IllegalTransitionError):
            store.tasks.record(run.id, [task("done", State.RUNNING)])
    assert store.tasks.find(run.id, "train") is None
    store.tasks.record(run.id, [task()])
    assert store.tasks.find(run.id, "train") is not None


def test_a_question_without_an_answer_does_not_spoil_the_transaction(store: Store, run: RunRecord) -> None:
    with store.transaction():
        store.tasks.record(run.id, [task()])
        with pytest.raises(NotFoundError):
            store.runs.get("nowhere")
    assert store.tasks.find(run.id, "train") is not None


def test_other_threads_see_nothing_of_an_open_transaction(store: Store, run: RunRecord) -> None:
    seen: list[int] = []
    with store.transaction():
        store.tasks.record(run.id, [task()])
        reader = threading.Thread(target=lambda: seen.append(len(store.tasks.load(run.id))))
        reader.start()
        reader.join(10)
        assert seen == [0]
    assert len(store.tasks.load(run.id)) == 1

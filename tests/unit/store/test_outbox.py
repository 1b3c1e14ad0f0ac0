from __future__ import annotations

import time

import pytest

from penstock.store import Store


def test_a_message_is_added_once_for_its_key(store: Store) -> None:
    assert store.outbox.add("run.ended", "run-1/ended", {"state": "SUCCEEDED"})
    assert not store.outbox.add("run.ended", "run-1/ended", {"state": "FAILED"})
    (message,) = store.outbox.claim_batch()
    assert (message.topic, message.key, message.payload, message.attempts) == (
        "run.ended",
        "run-1/ended",
        {"state": "SUCCEEDED"},
        1,
    )


def test_a_claimed_message_is_nobody_elses_until_its_lease_ends(store: Store) -> None:
    store.outbox.add("t", "k", {})
    assert len(store.outbox.claim_batch(lease_seconds=0.5)) == 1
    assert store.outbox.claim_batch() == []
    time.sleep(0.55)
    (again,) = store.outbox.claim_batch()
    assert again.attempts == 2


def test_a_delivered_message_does_not_come_again(store: Store) -> None:
    store.outbox.add("t", "k", {})
    (message,) = store.outbox.claim_batch(lease_seconds=0)
    assert store.outbox.mark_delivered(message.id)
    assert not store.outbox.mark_delivered(message.id)
    assert not store.outbox.mark_failed(message.id, "too late", 0)
    time.sleep(0.02)
    assert store.outbox.claim_batch() == []
    assert not store.outbox.add("t", "k", {})


def test_a_failed_message_comes_again_when_it_is_due(store: Store) -> None:
    store.outbox.add("t", "k", {})
    (message,) = store.outbox.claim_batch()
    assert store.outbox.mark_failed(message.id, "no answer", 0.5)
    assert store.outbox.claim_batch() == []
    time.sleep(0.55)
    assert [again.id for again in store.outbox.claim_batch()] == [message.id]


def test_messages_come_oldest_first_in_batches_by_topic(store: Store) -> None:
    for index in range(5):
        store.outbox.add("a" if index % 2 else "b", str(index), {})
    assert [message.key for message in store.outbox.claim_batch(1, topic="a")] == ["1"]
    assert [message.key for message in store.outbox.claim_batch(2)] == ["0", "2"]
    assert [message.key for message in store.outbox.claim_batch()] == ["3", "4"]


def test_a_message_of_a_transaction_that_failed_was_never_there(store: Store) -> None:
    with pytest.raises(ZeroDivisionError), store.transaction():
        store.outbox.add("t", "k", {})
        raise ZeroDivisionError
    assert store.outbox.claim_batch() == []

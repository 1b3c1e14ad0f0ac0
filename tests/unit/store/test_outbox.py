from __future__ import annotations

import time

import pytest

from penstock.store import Store, WaitingMessage


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


def standing(store: Store) -> WaitingMessage:
    (found,) = store.outbox.waiting("t")
    return found


def test_a_standing_message_is_one_however_often_it_is_offered(store: Store) -> None:
    store.outbox.offer("t", "k", {"from": 1})
    store.outbox.offer("t", "k", {"from": 2})
    found = standing(store)
    assert (found.message.payload, found.error, found.refused, found.held_seconds) == (
        {"from": 1},
        "",
        False,
        0,
    )
    assert store.outbox.waiting("t", "k") == [found]
    assert store.outbox.waiting("t", "other") == store.outbox.waiting("u") == []


def test_a_delivered_standing_message_is_offered_again_as_it_was(store: Store) -> None:
    store.outbox.offer("t", "k", {})
    held = store.outbox.take(standing(store).message, {"upto": 7}, 30)
    assert held is not None and store.outbox.mark_delivered(held.id)
    assert store.outbox.waiting("t") == []
    store.outbox.offer("t", "k", {})
    assert standing(store).message.payload == {"upto": 7}


def test_one_holds_a_standing_message_until_the_claim_ends(store: Store) -> None:
    store.outbox.offer("t", "k", {})
    seen = standing(store).message
    held = store.outbox.take(seen, {"by": "a"}, 0.5)
    assert held is not None and held.payload == {"by": "a"}
    assert store.outbox.take(seen, {"by": "b"}, 30) is None
    assert store.outbox.take(standing(store).message, {"by": "b"}, 30) is None
    assert 0 < standing(store).held_seconds <= 0.5
    store.outbox.offer("t", "k", {})
    assert standing(store).held_seconds > 0
    time.sleep(0.55)
    assert store.outbox.take(standing(store).message, {"by": "b"}, 30)


def test_who_was_overtaken_changes_nothing(store: Store) -> None:
    store.outbox.offer("t", "k", {})
    former = store.outbox.take(standing(store).message, {"by": "a"}, 30)
    assert former is not None
    held = store.outbox.take(standing(store).message, {"by": "b"}, 30, by_force=True)
    assert held is not None
    assert not store.outbox.keep(former, {"by": "a"}, 30)
    assert not store.outbox.hand_back(former, "mine")
    assert standing(store).message.payload == {"by": "b"}
    assert store.outbox.keep(held, {"by": "b", "upto": 3}, 30)
    assert standing(store).message.payload == {"by": "b", "upto": 3}


def test_a_message_handed_back_is_free_and_a_refused_one_waits_to_be_offered(store: Store) -> None:
    store.outbox.offer("t", "k", {})
    held = store.outbox.take(standing(store).message, {}, 30)
    assert held is not None and store.outbox.hand_back(held, "no answer")
    assert (standing(store).error, standing(store).held_seconds) == ("no answer", 0)
    held = store.outbox.take(standing(store).message, {}, 30)
    assert held is not None and store.outbox.hand_back(held, "a bad name", refused=True)
    found = standing(store)
    assert (found.error, found.refused, found.held_seconds) == ("a bad name", True, 0)
    assert store.outbox.take(found.message, {}, 30) is None
    assert store.outbox.claim_batch() == []
    store.outbox.offer("t", "k", {})
    assert not standing(store).refused
    assert store.outbox.take(standing(store).message, {}, 30)

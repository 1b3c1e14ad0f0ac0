from __future__ import annotations

import pytest

from penstock.errors import IllegalTransitionError, NotFoundError
from penstock.store import AttemptState, RunRecord, Store, new_id


def test_a_claimed_attempt_is_running_and_ours(store: Store, run: RunRecord) -> None:
    attempt_id = new_id()
    attempt = store.attempts.claim(
        run.id, "train", 1, 2, owner="me", launcher="process", isolation="python3.11", attempt_id=attempt_id
    )
    assert (attempt.id, attempt.generation, attempt.number) == (attempt_id, 1, 2)
    assert (attempt.owner, attempt.launcher, attempt.isolation) == ("me", "process", "python3.11")
    assert (attempt.state, attempt.adopted) == (AttemptState.RUNNING, False)
    assert store.attempts.get(attempt_id) == attempt
    assert store.attempts.live(run.id) == [attempt]


def test_a_live_attempt_is_adopted_by_whoever_asks_and_whatever_for(store: Store, run: RunRecord) -> None:
    first = store.attempts.claim(run.id, "train", 0, 1, owner="a")
    for generation, number in ((0, 1), (0, 2), (1, 1)):
        adopted = store.attempts.claim(run.id, "train", generation, number, owner="b")
        assert adopted.adopted
        assert (adopted.id, adopted.owner, adopted.generation) == (first.id, "a", 0)
    assert len(store.attempts.list(run.id)) == 1


def test_a_task_has_its_next_attempt_after_the_end_of_the_last(store: Store, run: RunRecord) -> None:
    first = store.attempts.claim(run.id, "train", 0, 1, owner="a")
    store.attempts.finish(first.id, AttemptState.FAILED)
    second = store.attempts.claim(run.id, "train", 0, 2, owner="a")
    other = store.attempts.claim(run.id, "other", 0, 1, owner="a")
    assert not second.adopted
    assert [one.id for one in store.attempts.list(run.id, "train")] == [first.id, second.id]
    assert {one.id for one in store.attempts.live(run.id)} == {second.id, other.id}
    assert len(store.attempts.list(run.id)) == 3


def test_an_attempt_that_ended_cannot_be_launched_again(store: Store, run: RunRecord) -> None:
    store.attempts.finish(store.attempts.claim(run.id, "train", 0, 1, owner="a").id, AttemptState.SUCCEEDED)
    with pytest.raises(IllegalTransitionError, match=r"attempt 1 of task 'train' \(generation 0\) has ended"):
        store.attempts.claim(run.id, "train", 0, 1, owner="a")


def test_an_attempt_is_finished_once(store: Store, run: RunRecord) -> None:
    attempt = store.attempts.claim(run.id, "train", 0, 1, owner="a")
    assert store.attempts.finish(
        attempt.id,
        AttemptState.FAILED,
        exit_code=3,
        error="broken \0",
        log="file:///log",
        notes={"python": "3.11"},
        started_at=1.0,
        ended_at=2.5,
    )
    ended = store.attempts.get(attempt.id)
    assert (ended.state, ended.exit_code, ended.error, ended.log) == (
        AttemptState.FAILED,
        3,
        "broken \ufffd",
        "file:///log",
    )
    assert (ended.notes, ended.started_at, ended.ended_at) == ({"python": "3.11"}, 1.0, 2.5)
    assert not store.attempts.finish(attempt.id, AttemptState.SUCCEEDED, exit_code=0)
    assert store.attempts.get(attempt.id) == ended


def test_an_attempt_cannot_be_finished_as_running_or_without_a_record(store: Store, run: RunRecord) -> None:
    attempt = store.attempts.claim(run.id, "train", 0, 1, owner="a")
    with pytest.raises(IllegalTransitionError):
        store.attempts.finish(attempt.id, AttemptState.RUNNING)
    with pytest.raises(NotFoundError, match="attempt nowhere is not recorded"):
        store.attempts.finish("nowhere", AttemptState.FAILED)


def test_a_live_attempt_says_where_its_log_is(store: Store, run: RunRecord) -> None:
    attempt = store.attempts.claim(run.id, "train", 0, 1, owner="a")
    assert store.attempts.describe(attempt.id, log="/logs/1", notes={"pid": 7})
    assert store.attempts.get(attempt.id).log == "/logs/1"
    store.attempts.finish(attempt.id, AttemptState.SUCCEEDED, log="/logs/final")
    assert not store.attempts.describe(attempt.id, log="/logs/late")
    assert store.attempts.get(attempt.id).log == "/logs/final"

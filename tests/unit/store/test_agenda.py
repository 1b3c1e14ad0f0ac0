"""Runs that workers drive, the attempts that nobody waits for, and who watches them."""

from __future__ import annotations

from collections.abc import Callable

import pytest

from penstock.model import State
from penstock.store import AttemptState, RunRecord, Store
from tests.unit.store.examples import new_run


@pytest.fixture
def planned(store: Store, run: RunRecord) -> str:
    store.agenda.put(run.id, "celery", "gpu", 3)
    return run.id


def attempt(store: Store, run_id: str, path: str = "train") -> str:
    return store.attempts.claim(run_id, path, 0, 1, owner="w").id


def late(store: Store) -> list[str]:
    return [one.run_id for one in store.agenda.late("celery", 0.0)]


def test_a_new_run_is_due_and_says_where_its_messages_go(store: Store, planned: str) -> None:
    (found,) = store.agenda.late("celery", 0.0)
    assert 0.0 <= found.late < 60.0
    assert (found.run_id, found.engine, found.queue, found.priority) == (planned, "celery", "gpu", 3)
    assert store.agenda.late("another", 0.0) == []
    assert store.agenda.late("celery", 60.0) == []


def test_a_run_is_left_alone_while_a_step_is_done_and_until_the_next(store: Store, planned: str) -> None:
    mine = store.agenda.begin(planned, 60.0)
    assert mine is not None
    assert late(store) == []
    assert store.agenda.settle(planned, mine, 60.0)
    assert late(store) == []


def test_a_step_that_never_ends_is_due_again(store: Store, planned: str) -> None:
    store.agenda.begin(planned, 0.0)
    assert late(store) == [planned]


@pytest.mark.parametrize(
    "call",
    [
        lambda store, run_id: store.agenda.wake(run_id),
        lambda store, run_id: store.agenda.put(run_id, "celery"),
        lambda store, run_id: store.runs.request_cancel(run_id),
        lambda store, run_id: store.launches.sight(attempt(store, run_id), "", {"pod": 1}),
    ],
)
def test_who_is_called_during_a_step_goes_on(
    store: Store, planned: str, call: Callable[[Store, str], object]
) -> None:
    mine = store.agenda.begin(planned, 60.0)
    assert mine is not None
    call(store, planned)
    assert not store.agenda.settle(planned, mine, 60.0)
    mine = store.agenda.begin(planned, 60.0)
    assert mine is not None
    assert store.agenda.settle(planned, mine, 60.0)
    call(store, planned)
    if store.attempts.live(planned) or store.runs.cancel_requested(planned):
        assert late(store) == [planned]


def test_a_call_is_heard_although_the_step_took_longer_than_it_said(store: Store, planned: str) -> None:
    mine = store.agenda.begin(planned, 60.0)
    assert mine is not None
    longer = store.agenda.extend(planned, mine, 120.0)
    assert longer > mine
    store.agenda.wake(planned)
    assert store.agenda.extend(planned, longer, 240.0) == longer
    assert not store.agenda.settle(planned, longer, 60.0)


def test_failures_are_counted_until_a_step_succeeds(store: Store, planned: str) -> None:
    for _ in range(2):
        store.agenda.fail(planned, "no broker\0", 60.0)
    found = store.agenda.get(planned)
    assert found is not None
    assert (found.failures, found.error) == (2, "no broker\ufffd")
    mine = store.agenda.begin(planned, 60.0)
    assert mine is not None
    store.agenda.settle(planned, mine, 60.0)
    found = store.agenda.get(planned)
    assert found is not None
    assert (found.failures, found.error) == (0, "")


def test_a_run_that_is_not_on_the_agenda_has_no_step(store: Store, run: RunRecord) -> None:
    assert store.agenda.begin(run.id, 60.0) is None
    assert store.agenda.get(run.id) is None
    assert not store.agenda.wake(run.id)
    store.agenda.put(run.id, "celery")
    store.agenda.remove(run.id)
    assert store.agenda.get(run.id) is None


def test_what_an_attempt_waits_for_is_kept_until_it_starts(store: Store, run: RunRecord) -> None:
    one = attempt(store, run.id)
    store.launches.waits(run.id, one, "the quota of namespace 'ml' is used up")
    (found,) = store.launches.open(run.id)
    assert (found.path, found.started, found.waits_for) == (
        "train",
        False,
        "the quota of namespace 'ml' is used up",
    )
    assert store.launches.count() == 0
    store.launches.started(run.id, [one])
    (found,) = store.launches.open(run.id)
    assert (found.started, found.waits_for, found.saw) == (True, "", None)
    assert store.launches.count() == 1


def test_an_attempt_that_was_seen_need_not_have_been_recorded_as_started(
    store: Store, run: RunRecord
) -> None:
    one = attempt(store, run.id)
    assert store.launches.sight(one, "image pull", None)
    assert store.launches.sight(one, "", {"phase": "Failed"})
    store.launches.started(run.id, [one])
    (found,) = store.launches.open(run.id)
    assert (found.started, found.saw) == (True, {"phase": "Failed"})


def test_who_has_been_published_is_not_seen_any_more(store: Store, run: RunRecord) -> None:
    one = attempt(store, run.id)
    store.launches.started(run.id, [one])
    store.attempts.finish(one, AttemptState.SUCCEEDED)
    store.launches.forget([one])
    assert not store.launches.sight(one, "", {"phase": "Succeeded"})
    assert not store.launches.sight("never heard of", "", {})
    assert store.launches.open(run.id) == []


def test_all_goes_with_the_run(store: Store) -> None:
    run = new_run(store)
    store.agenda.put(run.id, "celery")
    one = attempt(store, run.id)
    store.launches.started(run.id, [one])
    store.attempts.finish(one, AttemptState.FAILED)
    store.runs.transition(run.id, (State.PENDING,), State.FAILED)
    store.runs.delete(run.id)
    assert store.launches.count() == 0
    assert late(store) == []


def test_one_leads_until_it_resigns_or_is_silent(store: Store) -> None:
    assert store.leaders.claim("watcher", "a", 60.0)
    assert store.leaders.claim("watcher", "a", 60.0)
    assert not store.leaders.claim("watcher", "b", 60.0)
    assert store.leaders.claim("reaper", "b", 60.0)
    assert store.leaders.holder("watcher") == "a"
    store.leaders.resign("watcher", "b")
    assert store.leaders.holder("watcher") == "a"
    store.leaders.resign("watcher", "a")
    assert store.leaders.holder("watcher") is None
    assert store.leaders.claim("watcher", "b", 0.0)
    assert store.leaders.claim("watcher", "a", 60.0)

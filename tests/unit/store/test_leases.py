"""Which engine drives a run."""

from __future__ import annotations

import time

import pytest

from penstock.errors import LeaseError, NotFoundError
from penstock.store import RunRecord, Store
from tests.unit.store.examples import task


def test_a_held_run_is_refused_in_a_sentence_that_names_the_owner(store: Store, run: RunRecord) -> None:
    store.leases.claim(run.id, "host-1 (pid 7)", 60)
    with pytest.raises(
        LeaseError, match=rf"run {run.id} is driven by host-1 \(pid 7\), whose lease ends in [56]\d s"
    ):
        store.leases.claim(run.id, "host-2", 60)
    assert store.runs.get(run.id).owner == "host-1 (pid 7)"


def test_every_holder_gets_a_higher_token(store: Store, run: RunRecord) -> None:
    first = store.leases.claim(run.id, "a", 60)
    assert store.leases.release(run.id, first)
    second = store.leases.claim(run.id, "b", 60)
    third = store.leases.claim(run.id, "b", 60)
    fourth = store.leases.take_over(run.id, "c", 60, former="b")
    assert first < second < third < fourth


def test_an_expired_lease_can_be_claimed_and_a_renewed_one_cannot(store: Store, run: RunRecord) -> None:
    token = store.leases.claim(run.id, "a", 0.05)
    store.leases.renew(run.id, token, 60)
    time.sleep(0.1)
    with pytest.raises(LeaseError):
        store.leases.claim(run.id, "b", 60)
    store.leases.renew(run.id, token, 0.01)
    time.sleep(0.05)
    assert store.leases.claim(run.id, "b", 60) > token
    with pytest.raises(LeaseError, match="driven by b; this engine lost it"):
        store.leases.renew(run.id, token, 60)


def test_a_late_renewal_holds_as_long_as_nobody_else_came(store: Store, run: RunRecord) -> None:
    token = store.leases.claim(run.id, "a", 0.01)
    time.sleep(0.05)
    store.leases.renew(run.id, token, 60)
    with pytest.raises(LeaseError):
        store.leases.claim(run.id, "b", 60)


def test_a_run_is_taken_only_from_the_owner_that_is_known_dead(store: Store, run: RunRecord) -> None:
    store.leases.claim(run.id, "dead", 60)
    store.leases.take_over(run.id, "b", 60, former="dead")
    with pytest.raises(LeaseError, match="not held by dead any more: it is driven by b"):
        store.leases.take_over(run.id, "c", 60, former="dead")


def test_a_former_holder_does_not_release_the_lease_of_the_present_one(store: Store, run: RunRecord) -> None:
    former = store.leases.claim(run.id, "a", 60)
    store.leases.take_over(run.id, "b", 60, former="a")
    assert not store.leases.release(run.id, former)
    assert store.runs.get(run.id).owner == "b"


def test_a_released_lease_cannot_be_renewed(store: Store, run: RunRecord) -> None:
    token = store.leases.claim(run.id, "a", 60)
    store.leases.release(run.id, token)
    with pytest.raises(LeaseError, match="is now free"):
        store.leases.renew(run.id, token, 60)


def test_a_former_token_fences_off_every_write(store: Store, run: RunRecord) -> None:
    former = store.leases.claim(run.id, "a", 60)
    store.tasks.record(run.id, [task()], token=former)
    token = store.leases.take_over(run.id, "b", 60, former="a")
    for write in (
        lambda: store.tasks.record(run.id, [task("other")], token=former),
        lambda: store.tasks.remove(run.id, ["train"], token=former),
        lambda: store.attempts.claim(run.id, "train", 0, 1, owner="a", token=former),
    ):
        with pytest.raises(LeaseError, match="taken over by b; this engine must stop"):
            write()
    assert [found.path for found in store.tasks.load(run.id)] == ["train"]
    store.tasks.record(run.id, [task("other")], token=token)


def test_a_run_that_is_not_recorded_cannot_be_claimed(store: Store) -> None:
    with pytest.raises(NotFoundError):
        store.leases.claim("nowhere", "a", 60)

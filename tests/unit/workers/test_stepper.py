"""Steps of workers, over a cluster that starts nothing."""

from __future__ import annotations

import random
from collections.abc import Iterator

import pytest

from penstock.execution.launcher import LauncherError
from penstock.execution.options import RunOptions
from penstock.execution.order import LaunchOrder
from penstock.model import Reason, State
from penstock.store import AttemptState, RunRecord, Store
from penstock_workers.engine import stepper as stepping
from penstock_workers.engine.drive import Drive
from penstock_workers.remote import Waits
from tests.documents import Group, Shell, retries
from tests.unit.workers.worlds import Cluster, fail, submit, tell, to_the_end, worker


@pytest.fixture(scope="module")
def store(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Store]:
    with Store.open(f"sqlite:///{tmp_path_factory.mktemp('workers')}/penstock.db") as opened:
        yield opened


def states(store: Store, run: RunRecord) -> dict[str, State]:
    return {record.path: record.state for record in store.tasks.load(run.id) if record.path}


def attempts(store: Store, run: RunRecord) -> list[AttemptState]:
    return [one.state for one in store.attempts.list(run.id)]


@pytest.mark.parametrize("seed", range(5))
def test_any_worker_takes_any_step(store: Store, seed: int) -> None:
    run = submit(
        store,
        Shell("first"),
        Group("inner", [Shell("a"), Shell("b"), Shell("c", after=["a"])], after=["first"]),
        Shell("last", after=["inner"]),
    )
    cluster = Cluster()

    state = to_the_end(store, run, cluster, [worker(store, cluster) for _ in range(3)], random.Random(seed))

    assert state is State.SUCCEEDED
    assert set(cluster.starts.values()) == {1}
    assert len(cluster.starts) == 5
    assert not cluster.running and not cluster.ended
    assert store.agenda.get(run.id) is None
    assert store.runs.get(run.id).owner is None
    assert store.launches.open(run.id) == []


def test_tasks_that_end_at_once_take_one_step(store: Store) -> None:
    run = submit(store, *(Shell(f"t{n}", after=[f"t{n - 1}"] if n else []) for n in range(20)))
    cluster = Cluster(at_once=True)

    worker(store, cluster).advance(run.id)

    assert store.runs.get(run.id).state is State.SUCCEEDED


def test_no_more_attempts_of_a_run_at_once_than_are_allowed(store: Store) -> None:
    run = submit(store, *(Shell(f"task-{n}") for n in range(9)))
    cluster = Cluster()
    workers = [worker(store, cluster, parallel=3) for _ in range(2)]

    assert to_the_end(store, run, cluster, workers, random.Random(1)) is State.SUCCEEDED
    assert cluster.most == 3


def test_no_more_attempts_of_all_runs_at_once_than_are_allowed(store: Store) -> None:
    cluster = Cluster()
    one = worker(store, cluster, total=3)
    runs = [submit(store, *(Shell(f"task-{n}") for n in range(3))) for _ in range(2)]
    for run in runs:
        one.advance(run.id)
    assert len(cluster.running) == 3
    for _ in range(20):
        for attempt in list(cluster.running):
            cluster.finish(attempt)
        tell(store, cluster)
        for run in runs:
            one.advance(run.id)
    assert cluster.most == 3
    assert [store.runs.get(run.id).state for run in runs] == [State.SUCCEEDED] * 2


def test_a_failed_task_is_tried_again_as_often_as_it_says(store: Store) -> None:
    run = submit(store, Shell("flaky", more=retries(2)))
    cluster = Cluster({"flaky": fail})

    assert to_the_end(store, run, cluster, [worker(store, cluster)], random.Random(2)) is State.FAILED
    assert attempts(store, run) == [AttemptState.FAILED] * 3


def test_what_an_attempt_waits_for_is_recorded_and_tried_again(store: Store) -> None:
    waiting = [Waits("the quota of namespace 'ml' is used up", 0.0)] * 2
    cluster = Cluster(refusing=lambda order: waiting.pop() if waiting else None)
    run = submit(store, Shell("train"))
    one = worker(store, cluster)

    one.advance(run.id)
    (found,) = store.launches.open(run.id)
    assert (found.started, found.waits_for) == (False, "the quota of namespace 'ml' is used up")

    assert to_the_end(store, run, cluster, [one], random.Random(3)) is State.SUCCEEDED
    assert attempts(store, run) == [AttemptState.SUCCEEDED]


def test_a_cluster_that_does_not_answer_is_waited_for(store: Store, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("penstock_workers.engine.asking._UNREACHED_SECONDS", (0.0, 0.0))
    problems = [LauncherError("the cluster does not answer")]
    cluster = Cluster(refusing=lambda order: problems.pop() if problems else None)
    run = submit(store, Shell("train"))

    assert to_the_end(store, run, cluster, [worker(store, cluster)], random.Random(4)) is State.SUCCEEDED


def test_a_cluster_that_never_answers_is_given_up(store: Store) -> None:
    def silent(order: LaunchOrder) -> Exception | None:
        return LauncherError("the cluster does not answer") if order.task_name == "lost" else None

    cluster = Cluster(refusing=silent)
    run = submit(store, Shell("lost"), Shell("good"))
    one = worker(store, cluster, patience=0.0)

    assert to_the_end(store, run, cluster, [one], random.Random(4)) is State.FAILED
    record = store.tasks.get(run.id, "lost")
    assert record.reason is Reason.REFUSED
    assert record.error == "task 'lost' was given up after 0 s: the cluster does not answer"
    assert store.tasks.get(run.id, "good").state is State.SUCCEEDED


def test_a_quota_that_is_used_up_is_waited_for(store: Store) -> None:
    waiting = [Waits("the quota is used up", 0.0)] * 3
    cluster = Cluster(refusing=lambda order: waiting.pop() if waiting else None)
    run = submit(store, Shell("train"))
    one = worker(store, cluster, patience=0.0)

    assert to_the_end(store, run, cluster, [one], random.Random(4)) is State.SUCCEEDED


def test_a_fault_of_ours_fails_the_task(store: Store) -> None:
    cluster = Cluster(refusing=lambda order: ZeroDivisionError("oh") if order.task_name == "bad" else None)
    run = submit(store, Shell("bad"), Shell("good"))

    assert to_the_end(store, run, cluster, [worker(store, cluster)], random.Random(5)) is State.FAILED
    record = store.tasks.get(run.id, "bad")
    assert record.reason is Reason.REFUSED
    assert "ZeroDivisionError: oh" in record.error
    assert store.tasks.get(run.id, "good").state is State.SUCCEEDED


def test_a_canceled_run_ends_what_runs_and_what_waits(store: Store) -> None:
    def refusing(order: object) -> Waits | None:
        return Waits("no room", 60.0) if getattr(order, "task_name", "") == "waits" else None

    cluster = Cluster(refusing=refusing)
    run = submit(store, Shell("runs"), Shell("waits"), Shell("last", after=["runs"]))
    one, other = worker(store, cluster), worker(store, cluster)
    one.advance(run.id)
    store.runs.request_cancel(run.id)

    assert to_the_end(store, run, cluster, [one, other], random.Random(6)) is State.CANCELED
    assert states(store, run)["runs"] is State.CANCELED
    assert states(store, run)["waits"] is State.CANCELED
    assert not cluster.running


def test_fail_fast_starts_nothing_new(store: Store) -> None:
    cluster = Cluster({"bad": fail})
    run = submit(store, Shell("bad"), Shell("busy"), Shell("never"), options=RunOptions(fail_fast=True))
    one = worker(store, cluster, parallel=2)
    one.advance(run.id)
    bad = next(order.attempt_id for order in cluster.running.values() if order.task_name == "bad")
    cluster.finish(bad)
    tell(store, cluster)
    one.advance(run.id)
    assert states(store, run)["never"] is State.SKIPPED

    assert to_the_end(store, run, cluster, [one], random.Random(7)) is State.FAILED
    assert len(cluster.starts) == 2


def test_two_workers_at_one_run_one_drives_it(store: Store) -> None:
    run = submit(store, Shell("train"))
    cluster = Cluster()
    token = store.leases.claim(run.id, "another worker", 60.0)

    worker(store, cluster).advance(run.id)
    assert not cluster.running

    store.leases.release(run.id, token)
    worker(store, cluster).advance(run.id)
    assert len(cluster.running) == 1


def test_a_step_that_cannot_be_done_is_recorded_and_put_off(store: Store) -> None:
    run = submit(store, Shell("train"))
    cluster = Cluster()

    def broken(run_id: str) -> Drive:
        raise LauncherError("no kubeconfig here")

    stepping.Stepper(store, broken, lambda run_id, seconds: None).advance(run.id)

    found = store.agenda.get(run.id)
    assert found is not None
    assert (found.failures, found.error) == (1, "no kubeconfig here")
    assert store.runs.get(run.id).owner is None
    assert to_the_end(store, run, cluster, [worker(store, cluster)], random.Random(8)) is State.SUCCEEDED


def test_a_long_step_makes_room_for_others(store: Store, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(stepping, "STEP_SECONDS", 0.0)
    run = submit(store, *(Shell(f"t{n}", after=[f"t{n - 1}"] if n else []) for n in range(3)))
    cluster = Cluster(at_once=True)
    one = worker(store, cluster)
    one.advance(run.id)
    assert not store.runs.get(run.id).state.ended
    assert [found.run_id for found in store.agenda.late("celery", 0.0)].count(run.id) == 1
    monkeypatch.setattr(stepping, "STEP_SECONDS", 10.0)
    one.advance(run.id)
    assert store.runs.get(run.id).state is State.SUCCEEDED


def test_what_a_worker_knows_is_of_no_use_once_another_drove_the_run(store: Store) -> None:
    run = submit(store, Shell("a"), Shell("b", after=["a"]), Shell("c", after=["b"]))
    cluster = Cluster()
    one, other = worker(store, cluster), worker(store, cluster)
    for each in (one, other, one):
        each.advance(run.id)
        (attempt,) = cluster.running
        cluster.finish(attempt)
        tell(store, cluster)
    other.advance(run.id)
    assert store.runs.get(run.id).state is State.SUCCEEDED

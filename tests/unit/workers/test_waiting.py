"""`runs why` for tasks of runs on workers: each that waits says what for."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import pytest

from penstock.execution import waiting
from penstock.execution.why import why
from penstock.store import Store
from penstock_workers.remote import Waits
from tests.documents import Shell
from tests.unit.workers.worlds import Cluster, submit, tell, worker


@pytest.fixture
def store(tmp_path: Path) -> Iterator[Store]:
    with Store.open(f"sqlite:///{tmp_path}/penstock.db") as opened:
        yield opened


def test_a_run_that_no_worker_takes(store: Store, monkeypatch: pytest.MonkeyPatch) -> None:
    run = submit(store, Shell("train"))
    monkeypatch.setattr(waiting, "_LATE_SECONDS", -1.0)
    assert why(store, run.id, "train").startswith(
        "task 'train' is not reached yet: the run has not started; its run waits in the default queue for a "
        "`penstock worker`, since "
    )


def test_a_run_whose_steps_fail(store: Store) -> None:
    run = submit(store, Shell("train"))
    store.agenda.fail(run.id, "no kubeconfig here", 60.0)
    store.agenda.fail(run.id, "no kubeconfig here", 60.0)
    assert why(store, run.id, "train").endswith(
        "the last step of its run failed (2 times): no kubeconfig here"
    )


def test_a_task_that_has_no_pod_and_one_that_has_no_room(store: Store) -> None:
    quota = Waits("the quota of namespace 'ml' is used up", 60.0)
    cluster = Cluster(refusing=lambda order: quota if order.task_name == "a" else None)
    run = submit(store, Shell("a"), Shell("b"), Shell("c"))
    worker(store, cluster, parallel=2).advance(run.id)
    assert why(store, run.id, "a") == "task 'a' waits: the quota of namespace 'ml' is used up"
    assert why(store, run.id, "b") == "task 'b' is RUNNING"
    assert why(store, run.id, "c") == (
        "task 'c' is ready and waits for room: 2 attempts of its run are under way"
    )


def test_a_pod_that_waits_and_one_whose_end_is_not_recorded(store: Store) -> None:
    cluster = Cluster()
    run = submit(store, Shell("a"))
    worker(store, cluster).advance(run.id)
    (attempt,) = cluster.running
    store.launches.sight(attempt, "no node has room for it: 0/1 nodes are available", None)
    assert why(store, run.id, "a") == "task 'a' waits: no node has room for it: 0/1 nodes are available"
    store.launches.sight(attempt, "", None)
    assert why(store, run.id, "a") == "task 'a' is RUNNING"
    cluster.finish(attempt)
    tell(store, cluster)
    assert why(store, run.id, "a") == "task 'a' has ended, and a worker is to record it"


def test_pods_of_other_runs_take_all_the_room(store: Store) -> None:
    cluster = Cluster()
    one = worker(store, cluster, total=1)
    first, second = submit(store, Shell("a")), submit(store, Shell("b"))
    one.advance(first.id)
    one.advance(second.id)
    assert why(store, second.id, "b") == (
        "task 'b' is ready and waits for room: as many pods as max_pods allows belong to other runs"
    )

"""Several threads and processes at one store."""

from __future__ import annotations

import json
import os
import subprocess
import sys
import threading
from collections import Counter
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import TypeVar

import pytest

from penstock.errors import IllegalTransitionError, LeaseError
from penstock.model import State
from penstock.store import AttemptState, RunRecord, Store
from tests.unit.store.examples import execute, model, new_run, task

Answer = TypeVar("Answer")
THREADS = 6


def at_once(act: Callable[[int], Answer]) -> list[Answer]:
    """What several threads answer that begin at the same moment."""
    gate = threading.Barrier(THREADS)

    def wait_and_act(number: int) -> Answer:
        gate.wait(10)
        return act(number)

    with ThreadPoolExecutor(THREADS) as threads:
        return list(threads.map(wait_and_act, range(THREADS)))


def processes(script: str, *arguments: str, count: int = 3) -> list[list[object]]:
    """What each of several interpreters prints, as JSON, when all run `script` at once."""
    root = Path(__file__).parents[3]
    started = [
        subprocess.Popen(
            [sys.executable, "-c", script, *arguments, str(number)],
            stdout=subprocess.PIPE,
            cwd=root,
            env={**os.environ, "PYTHONPATH": str(root)},
        )
        for number in range(count)
    ]
    printed = [one.communicate(timeout=120)[0] for one in started]
    assert [one.returncode for one in started] == [0] * count
    return [json.loads(text) for text in printed]


def test_one_of_many_threads_claims_an_attempt_and_the_others_adopt_it(store: Store, run: RunRecord) -> None:
    for turn in range(10):
        claimed = at_once(
            lambda number, turn=turn: store.attempts.claim(run.id, f"t{turn}", 0, 1, owner=str(number))
        )
        assert len({attempt.id for attempt in claimed}) == 1
        assert sum(not attempt.adopted for attempt in claimed) == 1


def test_one_of_many_threads_finishes_an_attempt(store: Store, run: RunRecord) -> None:
    attempt = store.attempts.claim(run.id, "train", 0, 1, owner="me")
    ended = at_once(
        lambda number: store.attempts.finish(attempt.id, AttemptState.SUCCEEDED, exit_code=number)
    )
    assert sum(ended) == 1
    assert store.attempts.get(attempt.id).exit_code == ended.index(True)


def test_one_of_many_threads_ends_a_task(store: Store, run: RunRecord) -> None:
    store.tasks.record(run.id, [task()])

    def end(number: int) -> bool:
        try:
            store.tasks.record(run.id, [task(state=State.FAILED, error=str(number))])
        except IllegalTransitionError:
            return False
        return True

    ended = at_once(end)
    assert sum(ended) == 1
    assert store.tasks.get(run.id, "train").error == str(ended.index(True))
    assert len(store.tasks.history(run.id)) == 2


def test_one_of_many_threads_claims_a_run(store: Store, run: RunRecord) -> None:
    def claim(number: int) -> int | None:
        try:
            return store.leases.claim(run.id, f"engine {number}", 60)
        except LeaseError:
            return None

    tokens = [token for token in at_once(claim) if token is not None]
    assert tokens == [1]


def test_threads_that_create_the_same_run_get_the_same_run(store: Store) -> None:
    first = new_run(store)
    found = at_once(lambda number: new_run(store, run_id="r", experiment="e"))
    assert {run.id for run in found} == {"r"}
    assert {run.id for run in store.runs.list()} == {"r", first.id}


def test_the_changes_of_many_threads_are_all_in_the_history(store: Store, run: RunRecord) -> None:
    def record(number: int) -> None:
        for index in range(20):
            path = f"t{number}-{index}"
            with store.transaction():
                store.tasks.record(run.id, [task(path)])
                store.attempts.claim(run.id, path, 0, 1, owner="me")
            store.tasks.record(run.id, [task(path, State.SUCCEEDED)])

    at_once(record)
    history = store.tasks.history(run.id)
    assert [change.revision for change in history] == list(range(1, 2 * THREADS * 20 + 1))
    assert Counter(change.state for change in history) == {State.RUNNING: 120, State.SUCCEEDED: 120}


def test_threads_register_one_artifact_together(store: Store, run: RunRecord) -> None:
    shared = model()
    at_once(lambda number: execute(store, run, f"t{number}", {"in": (shared,)}, {"out": (model(),)}))
    assert len(store.lineage.downstream(shared.id).executions) == THREADS


def test_a_message_goes_to_one_of_many_threads(store: Store) -> None:
    for index in range(60):
        store.outbox.add("t", str(index), {})
    claimed = at_once(lambda number: [message.key for message in store.outbox.claim_batch(10)])
    assert sorted(key for batch in claimed for key in batch) == sorted(str(index) for index in range(60))


def test_processes_that_open_a_new_database_at_once_all_get_it(tmp_path: Path) -> None:
    script = """
import json, sys
from penstock.store import Store
from tests.unit.store.examples import new_run
with Store.open(sys.argv[1]) as store:
    new_run(store, namespace="n" + sys.argv[2])
    print(json.dumps([len(store.namespaces.list()) > 0]))
"""
    url = f"sqlite:///{tmp_path}/penstock.db"
    assert processes(script, url, count=4) == [[True]] * 4
    with Store.open(url) as store:
        assert store.namespaces.list() == ["n0", "n1", "n2", "n3"]


def test_processes_share_out_the_attempts_of_a_run(url: str, store: Store, run: RunRecord) -> None:
    script = """
import json, sys
from penstock.model import State
from penstock.store import AttemptState, Store
from tests.unit.store.examples import task
url, run_id, number = sys.argv[1:]
won = []
with Store.open(url) as store:
    for index in range(40):
        path = f"t{index}"
        with store.transaction():
            attempt = store.attempts.claim(run_id, path, 0, 1, owner=number)
            if not attempt.adopted:
                store.tasks.record(run_id, [task(path)])
                won.append(path)
print(json.dumps(won))
"""
    won = processes(script, url, run.id)
    assert sorted(str(path) for paths in won for path in paths) == sorted(f"t{index}" for index in range(40))
    assert len(store.tasks.load(run.id)) == 40
    assert len(store.attempts.live(run.id)) == 40


@pytest.mark.skipif(not hasattr(os, "fork"), reason="needs fork")
def test_a_forked_child_uses_connections_of_its_own(url: str, store: Store, run: RunRecord) -> None:
    store.tasks.record(run.id, [task("parent")])
    child = os.fork()
    if child == 0:
        try:
            store.tasks.record(run.id, [task("child")])
            os._exit(0)
        except BaseException:  # noqa: BLE001 - the child must not go on as a second pytest
            os._exit(1)
    _, status = os.waitpid(child, 0)
    assert os.waitstatus_to_exitcode(status) == 0
    store.tasks.record(run.id, [task("parent", State.SUCCEEDED)])
    assert [found.path for found in store.tasks.load(run.id)] == ["parent", "child"]

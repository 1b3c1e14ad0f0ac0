from __future__ import annotations

import time
from dataclasses import replace

import pytest

from penstock.errors import IllegalTransitionError, NotFoundError
from penstock.model import NOTHING, Reason, State, TaskKind, TaskRun, Values
from penstock.store import RunRecord, Store
from tests.unit.store.examples import model, task


def test_a_record_comes_back_as_it_was_written(store: Store, run: RunRecord) -> None:
    written = TaskRun(
        path="for-loop-1[3]/train",
        kind=TaskKind.LOOP,
        state=State.FAILED,
        inputs=Values(
            {"text": "\0 \ud800 'x'", "n": None, "deep": [[1, 2.5], {}]}, {"data": (model(), model())}
        ),
        outputs=Values({}, {"model": ()}),
        iterations=3,
        cached=True,
        reason=Reason.EXIT_CODE,
        error="it ended with 1",
        generation=2,
        attempts=4,
        retries=1,
        retry_at=12.5,
        fingerprint="f" * 64,
        started_at=10.25,
        ended_at=11.75,
    )
    assert store.tasks.record(run.id, [written]) == (written,)
    assert store.tasks.load(run.id) == [written]
    assert store.tasks.get(run.id, written.path) == written


def test_an_error_text_of_any_bytes_can_be_recorded(store: Store, run: RunRecord) -> None:
    store.tasks.record(run.id, [task(state=State.FAILED, error="\0 \ud800 é")])
    assert store.tasks.get(run.id, "train").error == "\ufffd ? é"


def test_records_load_in_the_order_in_which_they_appeared(store: Store, run: RunRecord) -> None:
    paths = ["z", "a", "loop[10]", "loop[2]", ""]
    for path in paths:
        store.tasks.record(run.id, [task(path)])
    store.tasks.record(run.id, [task("z", State.SUCCEEDED)])
    assert [found.path for found in store.tasks.load(run.id)] == paths


def test_the_children_of_a_record_are_what_stands_right_below_it(store: Store, run: RunRecord) -> None:
    paths = ["", "loop", "loop[0]", "loop[0]/train", "loop[1]", "other"]
    store.tasks.record(run.id, [task(path) for path in paths])
    assert [found.path for found in store.tasks.children(run.id, "")] == ["loop", "other"]
    assert [found.path for found in store.tasks.children(run.id, "loop")] == ["loop[0]", "loop[1]"]
    assert [found.path for found in store.tasks.children(run.id, "loop[0]")] == ["loop[0]/train"]
    assert store.tasks.children(run.id, "loop[1]") == []


def test_a_record_that_is_not_there(store: Store, run: RunRecord) -> None:
    assert store.tasks.find(run.id, "train") is None
    with pytest.raises(NotFoundError, match=f"run {run.id} has no record of a task 'train'"):
        store.tasks.get(run.id, "train")
    with pytest.raises(NotFoundError, match="run nowhere is not recorded"):
        store.tasks.record("nowhere", [task()])


def test_starts_and_ends_are_stamped_where_they_are_missing(store: Store, run: RunRecord) -> None:
    before = time.time()
    (pending,) = store.tasks.record(run.id, [task(state=State.PENDING)])
    assert pending.started_at is None
    (running,) = store.tasks.record(run.id, [task()])
    (ended,) = store.tasks.record(run.id, [task(state=State.SUCCEEDED)])
    assert running.started_at is not None
    assert running.ended_at is None
    assert ended.started_at == running.started_at
    assert ended.ended_at is not None
    assert before <= running.started_at <= ended.ended_at <= time.time()
    assert store.tasks.load(run.id) == [ended]


def test_a_skipped_task_has_no_start(store: Store, run: RunRecord) -> None:
    (skipped,) = store.tasks.record(run.id, [task(state=State.SKIPPED, reason=Reason.CONDITION)])
    assert skipped.started_at is None
    assert skipped.ended_at is not None


def test_all_changes_of_a_call_are_recorded_or_none(store: Store, run: RunRecord) -> None:
    store.tasks.record(run.id, [task("done", State.SUCCEEDED)])
    before = store.tasks.history(run.id)
    with pytest.raises(IllegalTransitionError, match="task 'done' has ended SUCCEEDED"):
        store.tasks.record(run.id, [task("a"), task("done", State.FAILED), task("b")])
    assert [found.path for found in store.tasks.load(run.id)] == ["done"]
    assert store.tasks.history(run.id) == before


def test_one_call_may_change_a_task_twice(store: Store, run: RunRecord) -> None:
    store.tasks.record(run.id, [task("", State.RUNNING), task("", State.SUCCEEDED)])
    assert store.tasks.get(run.id, "").state is State.SUCCEEDED
    assert [change.state for change in store.tasks.history(run.id)] == [State.RUNNING, State.SUCCEEDED]


def test_the_very_record_of_an_end_may_come_twice(store: Store, run: RunRecord) -> None:
    ended = task(state=State.FAILED, error="no \0", reason=Reason.OUTPUT, ended_at=5.0)
    (first,) = store.tasks.record(run.id, [ended])
    assert store.tasks.record(run.id, [ended]) == (first,)
    assert store.tasks.record(run.id, [replace(ended, ended_at=None)]) == (first,)
    assert len(store.tasks.history(run.id)) == 1


def test_an_end_cannot_be_told_differently(store: Store, run: RunRecord) -> None:
    ended = task(state=State.SUCCEEDED, outputs=Values({"a": 1}))
    store.tasks.record(run.id, [ended])
    with pytest.raises(IllegalTransitionError, match="its record cannot change; reopen"):
        store.tasks.record(run.id, [replace(ended, outputs=Values({"a": 2}))])
    assert store.tasks.get(run.id, "train").outputs == Values({"a": 1})


def test_an_earlier_generation_comes_too_late(store: Store, run: RunRecord) -> None:
    store.tasks.record(run.id, [task(generation=3)])
    with pytest.raises(IllegalTransitionError, match="reopened meanwhile"):
        store.tasks.record(run.id, [task(state=State.SUCCEEDED, generation=2)])


def test_history_is_every_change_in_order(store: Store, run: RunRecord) -> None:
    store.tasks.record(run.id, [task("a", State.PENDING), task("b")])
    store.tasks.record(run.id, [task("a", State.SKIPPED, reason=Reason.CONDITION)])
    store.tasks.remove(run.id, ["b", "never there"])
    found = [(one.revision, one.path, one.state, one.reason) for one in store.tasks.history(run.id)]
    assert found == [
        (1, "a", State.PENDING, None),
        (2, "b", State.RUNNING, None),
        (3, "a", State.SKIPPED, Reason.CONDITION),
        (4, "b", None, None),
    ]
    assert [one.revision for one in store.tasks.history(run.id, after=2)] == [3, 4]
    assert store.runs.get(run.id).revision == 4


def test_removed_records_leave_their_attempts(store: Store, run: RunRecord) -> None:
    store.tasks.record(run.id, [task("dag"), task("dag/a")])
    attempt = store.attempts.claim(run.id, "dag/a", 0, 1, owner="me")
    store.tasks.remove(run.id, ["dag/a"])
    assert [found.path for found in store.tasks.load(run.id)] == ["dag"]
    assert store.attempts.get(attempt.id) == attempt
    store.tasks.record(run.id, [task("dag/a", State.PENDING, generation=1)])
    assert store.tasks.get(run.id, "dag/a").generation == 1


def test_only_reopening_leads_back_from_an_end(store: Store, run: RunRecord) -> None:
    ended = task(state=State.FAILED, error="no", generation=0, started_at=1.0, ended_at=2.0)
    store.tasks.record(run.id, [ended])
    again = task(state=State.PENDING, reason=Reason.REOPENED, generation=store.runs.reopen(run.id))
    with pytest.raises(IllegalTransitionError):
        store.tasks.record(run.id, [again])
    assert store.tasks.reopen(run.id, [again]) == (again,)
    (running,) = store.tasks.record(run.id, [task(generation=1)])
    assert running.started_at != 1.0


def test_reopening_needs_a_later_generation_and_an_open_state(store: Store, run: RunRecord) -> None:
    store.tasks.record(run.id, [task(state=State.FAILED, generation=2)])
    with pytest.raises(IllegalTransitionError, match="has ended in generation 2 and needs a later one"):
        store.tasks.reopen(run.id, [task(state=State.PENDING, generation=2)])
    with pytest.raises(IllegalTransitionError, match="cannot be reopened as SUCCEEDED"):
        store.tasks.reopen(run.id, [task(state=State.SUCCEEDED, generation=3)])


def test_reopening_replaces_and_removes_in_one_step(store: Store, run: RunRecord) -> None:
    store.tasks.record(
        run.id, [task(""), task("a", State.SUCCEEDED), task("b", State.FAILED), task("c", State.SKIPPED)]
    )
    generation = store.runs.reopen(run.id)
    store.tasks.reopen(
        run.id,
        [task("", generation=generation), task("b", State.PENDING, generation=generation)],
        removed=["c"],
    )
    assert {one.path: one.state for one in store.tasks.load(run.id)} == {
        "": State.RUNNING,
        "a": State.SUCCEEDED,
        "b": State.PENDING,
    }
    assert store.runs.get(run.id).generation == generation == 1


def test_many_records_are_written_removed_and_loaded_at_once(store: Store, run: RunRecord) -> None:
    many = [task(f"loop[{index}]", State.PENDING, inputs=NOTHING) for index in range(2500)]
    store.tasks.record(run.id, many)
    assert store.tasks.load(run.id) == many
    store.tasks.remove(run.id, [one.path for one in many[:2000]])
    assert store.tasks.load(run.id) == many[2000:]
    assert store.runs.get(run.id).revision == 4500


def test_nothing_to_change_changes_nothing(store: Store, run: RunRecord) -> None:
    assert store.tasks.record(run.id, []) == ()
    store.tasks.remove(run.id, [])
    assert store.runs.get(run.id).revision == 0

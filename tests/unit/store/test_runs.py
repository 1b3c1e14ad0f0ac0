from __future__ import annotations

import time

import pytest

from penstock.errors import IllegalTransitionError, InvalidInputError, LeaseError, NotFoundError
from penstock.model import NOTHING, State, Values
from penstock.store import RunRecord, StorageState, Store, new_id
from tests.unit.store.examples import model, new_run, pipeline, task


def test_a_new_run_is_pending_and_holds_what_it_was_given(store: Store) -> None:
    version_id = store.pipelines.save(pipeline())
    run = store.runs.create(
        new_id(),
        version_id=version_id,
        name="my \0run",
        arguments={
            "text": 'quotes " and \0 and \ud800',
            "number": 1e300,
            "none": None,
            "list": [1, {"a": True}],
        },
        resource_name="iris-x",
        pipeline_root="file:///root",
        options={"parallel": 3},
        experiment="sweep",
    )
    assert store.runs.get(run.id) == run
    assert (run.state, run.name, run.digest, run.pipeline, run.experiment) == (
        State.PENDING,
        "my \ufffdrun",
        "d1",
        "iris",
        "sweep",
    )
    assert run.arguments["text"] == 'quotes " and \0 and \ud800'
    assert run.options == {"parallel": 3}
    assert (run.outputs, run.error, run.owner, run.token) == (NOTHING, "", None, 0)
    assert abs(run.created_at - time.time()) < 60


def test_creating_a_run_again_answers_with_the_run_as_it_is(store: Store) -> None:
    run = new_run(store, arguments={"a": 1, "b": 2})
    store.runs.transition(run.id, [State.PENDING], State.RUNNING)
    again = new_run(store, arguments={"b": 2, "a": 1}, run_id=run.id)
    assert again.state is State.RUNNING
    assert len(store.runs.list()) == 1


@pytest.mark.parametrize("other", [{"a": 2}, {"a": True}, {}, {"a": 1, "b": None}])
def test_an_id_cannot_be_taken_for_other_arguments(store: Store, other: dict[str, int | None]) -> None:
    run = new_run(store, arguments={"a": 1})
    with pytest.raises(InvalidInputError, match="exists already with another pipeline or other arguments"):
        new_run(store, arguments=other, run_id=run.id)
    assert store.runs.get(run.id) == run


def test_an_id_cannot_be_taken_for_another_version(store: Store) -> None:
    run = new_run(store)
    with pytest.raises(InvalidInputError):
        new_run(store, of=pipeline(digest="d2"), run_id=run.id)


def test_a_run_is_found_by_id_part_of_it_or_name(store: Store) -> None:
    run = new_run(store, name="nightly", run_id="0198f3a2-0000-7000-8000-00000000abcd")
    new_run(store, name="other", run_id="0198f3a2-0000-7000-8000-00000000ef01")
    for reference in (run.id, "ABCD", "00000000abcd", "nightly"):
        assert store.runs.find(reference).id == run.id
    assert store.runs.find("0198f3a2-0000-7000-8000-00000000a").id == run.id


def test_a_reference_that_fits_several_runs_is_an_error_that_lists_them(store: Store) -> None:
    first = new_run(store, name="twice", run_id="0198f3a2-0000-7000-8000-00000000abcd")
    second = new_run(store, name="twice", run_id="0198f3a2-0000-7000-8000-00000000ef01")
    for reference in ("0198f3a2", "twice"):
        with pytest.raises(InvalidInputError) as caught:
            store.runs.find(reference)
        assert f"'{reference}' fits several runs" in str(caught.value)
        assert first.id in str(caught.value)
        assert second.id in str(caught.value)


@pytest.mark.parametrize("reference", ["", "%", "____", "%%%%", "0198f3a2-0000-7000-8000-00000000abc_"])
def test_wildcards_are_no_references(store: Store, reference: str) -> None:
    new_run(store, run_id="0198f3a2-0000-7000-8000-00000000abcd")
    with pytest.raises(NotFoundError, match="there is no run"):
        store.runs.find(reference)


def test_a_run_of_another_namespace_is_not_found_in_this_one(store: Store) -> None:
    run = new_run(store, namespace="theirs")
    assert store.runs.find(run.id, "theirs").id == run.id
    with pytest.raises(NotFoundError):
        store.runs.find(run.id, "mine")


def test_runs_are_listed_newest_first_page_by_page(store: Store) -> None:
    ids = [new_run(store).id for _ in range(5)]
    first = [run.id for run in store.runs.list(limit=2)]
    second = [run.id for run in store.runs.list(limit=2, before=first[-1])]
    third = [run.id for run in store.runs.list(limit=2, before=second[-1])]
    assert first + second + third == ids[::-1]


def test_runs_are_filtered(store: Store) -> None:
    a = new_run(store, experiment="sweep")
    b = new_run(store, of=pipeline("other"))
    c = new_run(store, namespace="n")
    store.runs.transition(b.id, [State.PENDING], State.RUNNING)
    store.runs.store_away(c.id, StorageState.ARCHIVED)

    def ids(*found: RunRecord) -> set[str]:
        return {run.id for run in found}

    assert ids(*store.runs.list()) == ids(a, b)
    assert ids(*store.runs.list(storage_state=None)) == ids(a, b, c)
    assert ids(*store.runs.list("n", storage_state=StorageState.ARCHIVED)) == ids(c)
    assert ids(*store.runs.list(state=State.RUNNING)) == ids(b)
    assert ids(*store.runs.list(experiment="sweep")) == ids(a)
    assert ids(*store.runs.list(pipeline="other")) == ids(b)


def test_a_run_keeps_its_times_error_and_outputs(store: Store, run: RunRecord) -> None:
    store.runs.transition(run.id, [State.PENDING], State.RUNNING)
    started = store.runs.get(run.id).started_at
    assert started is not None
    outputs = Values({"accuracy": 0.9}, {"model": (model(),)})
    store.runs.transition(run.id, [State.RUNNING], State.SUCCEEDED, outputs=outputs)
    ended = store.runs.get(run.id)
    assert (ended.outputs, ended.started_at, ended.error) == (outputs, started, "")
    assert ended.ended_at is not None
    assert ended.ended_at >= started


def test_a_run_in_an_unexpected_state_does_not_move(store: Store, run: RunRecord) -> None:
    with pytest.raises(IllegalTransitionError, match=f"run {run.id} is PENDING, not RUNNING"):
        store.runs.transition(run.id, [State.RUNNING], State.FAILED, error="no")
    assert store.runs.get(run.id) == run
    with pytest.raises(NotFoundError):
        store.runs.transition("nowhere", [State.RUNNING], State.FAILED)


def test_reopening_is_the_way_back_and_gives_a_new_generation_each_time(store: Store, run: RunRecord) -> None:
    store.runs.transition(run.id, [State.PENDING], State.RUNNING)
    store.tasks.record(run.id, [task(state=State.FAILED, generation=4)])
    store.runs.request_cancel(run.id)
    store.runs.transition(run.id, [State.RUNNING], State.FAILED, error="it broke")
    assert store.runs.reopen(run.id) == 5
    again = store.runs.get(run.id)
    assert (again.state, again.error, again.ended_at, again.cancel_requested_at) == (
        State.PENDING,
        "",
        None,
        None,
    )
    store.runs.transition(run.id, [State.PENDING], State.RUNNING)
    assert store.runs.reopen(run.id) == 6
    assert store.runs.get(run.id).state is State.RUNNING


def test_a_former_engine_can_neither_move_nor_reopen_the_run(store: Store, run: RunRecord) -> None:
    former = store.leases.claim(run.id, "old", 60)
    store.leases.take_over(run.id, "new", 60, former="old")
    with pytest.raises(LeaseError):
        store.runs.transition(run.id, [State.PENDING], State.RUNNING, token=former)
    with pytest.raises(LeaseError):
        store.runs.reopen(run.id, token=former)


def test_canceling_is_asked_for_once_and_not_after_the_end(store: Store, run: RunRecord) -> None:
    assert not store.runs.cancel_requested(run.id)
    assert store.runs.request_cancel(run.id)
    asked = store.runs.get(run.id).cancel_requested_at
    assert asked is not None
    assert store.runs.request_cancel(run.id)
    assert store.runs.cancel_requested(run.id)
    assert store.runs.get(run.id).cancel_requested_at == asked
    store.runs.transition(run.id, [State.PENDING], State.CANCELED)
    assert not store.runs.request_cancel(run.id)
    with pytest.raises(NotFoundError):
        store.runs.request_cancel("nowhere")

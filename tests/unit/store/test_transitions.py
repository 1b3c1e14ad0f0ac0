"""The state machines, and that nothing in the store steps around them."""

from __future__ import annotations

import tempfile
from collections.abc import Generator
from contextlib import contextmanager

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from penstock.errors import IllegalTransitionError
from penstock.model import ENDED, State, TaskRun
from penstock.store import Store
from penstock.store.transitions import RUN, TASK, check_run, check_task
from tests.unit.store.examples import new_run, task

STATES = st.sampled_from(list(State))


@contextmanager
def fresh_store() -> Generator[Store]:
    with tempfile.TemporaryDirectory() as folder, Store.open(f"sqlite:///{folder}/penstock.db") as store:
        yield store


@pytest.mark.parametrize("table", [TASK, RUN])
def test_every_state_has_its_row_and_ends_are_final(table: dict[State | None, frozenset[State]]) -> None:
    assert set(table) == {None, *State}
    assert all((not table[state]) == (state in ENDED) for state in State)


@pytest.mark.parametrize("table", [TASK, RUN])
def test_every_state_that_can_be_reached_can_end(table: dict[State | None, frozenset[State]]) -> None:
    for state in State:
        reached, todo = {state}, [state]
        while todo:
            for following in table[todo.pop()] - reached:
                reached.add(following)
                todo.append(following)
        assert reached & ENDED


@pytest.mark.parametrize(
    ("former", "new"),
    [
        (State.PENDING, State.RUNNING),
        (State.PENDING, State.SKIPPED),
        (State.PENDING, State.FAILED),
        (State.PENDING, State.CANCELED),
        (State.RUNNING, State.SUCCEEDED),
        (State.RUNNING, State.FAILED),
        (State.RUNNING, State.CANCELING),
        (State.RUNNING, State.CANCELED),
        (State.RUNNING, State.PENDING),
    ],
)
def test_what_runs_and_tasks_do_is_legal_for_both(former: State, new: State) -> None:
    check_task("train", former, new)
    check_run("r", former, new)


def test_a_refusal_names_the_task_and_both_states() -> None:
    with pytest.raises(
        IllegalTransitionError, match=r"task 'a/b' has ended FAILED and cannot become RUNNING; reopen"
    ):
        check_task("a/b", State.FAILED, State.RUNNING)
    with pytest.raises(
        IllegalTransitionError, match="the run's own DAG is CANCELING and cannot become RUNNING"
    ):
        check_task("", State.CANCELING, State.RUNNING)
    with pytest.raises(IllegalTransitionError, match="task 'a' cannot begin CANCELING"):
        check_task("a", None, State.CANCELING)


@settings(max_examples=40, deadline=None)
@given(st.lists(STATES, min_size=1, max_size=12))
def test_a_task_record_takes_every_legal_change_and_no_other(states: list[State]) -> None:
    with fresh_store() as store:
        run = new_run(store)
        present: TaskRun | None = None
        changes = 0
        for number, state in enumerate(states):
            change = task(state=state, error=f"change {number}")
            if state in TASK[present.state if present else None]:
                (present,) = store.tasks.record(run.id, [change])
                changes += 1
            else:
                with pytest.raises(IllegalTransitionError):
                    store.tasks.record(run.id, [change])
            assert store.tasks.find(run.id, "train") == present
        assert len(store.tasks.history(run.id)) == changes


@settings(max_examples=40, deadline=None)
@given(st.lists(st.tuples(st.frozensets(STATES), STATES), min_size=1, max_size=12))
def test_a_run_takes_every_legal_change_from_an_expected_state_and_no_other(
    steps: list[tuple[frozenset[State], State]],
) -> None:
    with fresh_store() as store:
        run = new_run(store)
        present = State.PENDING
        for expected, state in steps:
            if present in expected and state in RUN[present]:
                store.runs.transition(run.id, expected, state)
                present = state
            else:
                with pytest.raises(IllegalTransitionError):
                    store.runs.transition(run.id, expected, state)
            assert store.runs.get(run.id).state is present

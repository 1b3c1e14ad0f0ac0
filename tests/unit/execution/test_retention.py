"""Retention as a whole: records, content and logs, and a process that dies anywhere in between."""

from __future__ import annotations

import threading
from collections.abc import Iterator
from pathlib import Path

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from penstock.artifacts import path_of, uri_of
from penstock.errors import NotFoundError
from penstock.execution import retention
from penstock.execution.failpoints import REMOVAL
from penstock.execution.retention import Retention
from penstock.execution.session import place_of_run
from penstock.execution.settings import load_settings
from penstock.execution.workspace import Workspace
from penstock.store import ExecutionState, Rule
from tests.unit.store.examples import end, execute, model, new_run, pipeline
from tests.unit.store.removal_worlds import (
    Recorded,
    World,
    check_all_is_gone_that_may_go,
    check_nothing_dangles,
    record,
    worlds,
)


class Killed(BaseException):
    """As SIGKILL, for one thread."""


@pytest.fixture
def workspace(home: Path) -> Iterator[Workspace]:
    with Workspace(load_settings()) as opened:
        yield opened


def put_content(workspace: Workspace, recorded: Recorded) -> None:
    """What the recorded runs would have left on the disk."""
    for number, step in enumerate(recorded.world.steps):
        if step.kind == "make":
            path = path_of(recorded.artifacts[number].uri)
            path.parent.mkdir(parents=True, exist_ok=True)
            path.write_text("x")
    for run in recorded.runs:
        attempt = workspace.settings.home / "attempts" / run.id / "attempt"
        attempt.mkdir(parents=True)
        (attempt / "log").write_text("x")


def check_content(workspace: Workspace, recorded: Recorded, *, all_gone: bool) -> None:
    """Kept content is there; and, if all is to be gone, that of nobody else."""
    home = workspace.settings.home
    kept = {run.id for run in workspace.store.runs.list(recorded.namespace, limit=1000)}
    for number, step in enumerate(recorded.world.steps):
        run = recorded.runs[step.run]
        if step.kind == "make" and run.id in kept:
            assert path_of(recorded.artifacts[number].uri).read_text() == "x"
    for run in recorded.runs:
        left = [home / "attempts" / run.id, home / "artifacts" / run.pipeline / run.id]
        if run.id in kept:
            assert left[0].is_dir()
        elif all_gone:
            assert not any(path.exists() for path in left)


@settings(max_examples=40, suppress_health_check=[HealthCheck.function_scoped_fixture, HealthCheck.too_slow])
@given(world=worlds(), page=st.integers(1, 3), name=st.sampled_from(REMOVAL), nth=st.integers(1, 4))
def test_a_gc_killed_anywhere_leaves_nothing_dangling_and_the_next_one_finishes(
    workspace: Workspace, world: World, page: int, name: str, nth: int
) -> None:
    root = uri_of(workspace.settings.home / "artifacts")
    recorded = record(workspace.store, world, root)
    put_content(workspace, recorded)
    rule = world.rule(recorded.namespace)
    passed = 0

    def die(point: str) -> None:
        nonlocal passed
        passed += point == name
        if passed == nth:
            raise Killed

    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(retention, "PAGE", page)
        patch.setattr(retention, "failpoint", die)
        try:
            one = Retention(workspace)
            one.apply(one.plan_runs(workspace.store.removals.choose(rule)))
        except Killed:
            pass
        check_nothing_dangles(workspace.store, recorded)
        check_content(workspace, recorded, all_gone=False)

        patch.setattr(retention, "failpoint", lambda point: None)
        another = Retention(workspace)
        removed = another.apply(another.plan_runs(workspace.store.removals.choose(rule)))
    assert (removed.failed, removed.shared) == ({}, [])
    check_nothing_dangles(workspace.store, recorded)
    check_all_is_gone_that_may_go(workspace.store, recorded)
    check_content(workspace, recorded, all_gone=True)
    assert workspace.store.removals.waiting() == (0, "")


def test_two_at_once_remove_what_one_would(workspace: Workspace) -> None:
    store = workspace.store
    root = uri_of(workspace.settings.home / "artifacts")
    runs = [new_run(store, pipeline_root=root) for _ in range(12)]
    for run in runs:
        for index in range(4):
            place = f"{root}/{run.pipeline}/{run.id}/task/{index}/out/file"
            path_of(place).parent.mkdir(parents=True)
            path_of(place).write_text("x")
            execute(store, run, f"task-{index}", {}, {"out": (model(place.rpartition("/")[0], size=1),)})
        end(store, run)
    failures: list[BaseException] = []

    def gc() -> None:
        try:
            with Workspace(load_settings()) as own:
                one = Retention(own)
                removed = one.apply(one.plan(Rule()))
                assert removed.failed == {}
        except BaseException as error:  # noqa: BLE001
            failures.append(error)

    threads = [threading.Thread(target=gc) for _ in range(3)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()

    assert failures == []
    assert store.runs.list() == []
    assert [path for path in (workspace.settings.home / "artifacts").rglob("*") if path.is_file()] == []


@pytest.mark.parametrize("name", ["iris", "50% off/ä"])
def test_what_a_failed_attempt_left_goes_with_the_run(workspace: Workspace, name: str) -> None:
    root = uri_of(workspace.settings.home / "artifacts")
    run = end(workspace.store, new_run(workspace.store, of=pipeline(name), pipeline_root=root))
    left = path_of(f"{place_of_run(root, name, run.id)}/task/attempt/half")
    assert name in str(left)
    left.parent.mkdir(parents=True)
    left.write_text("x")

    Retention(workspace).apply(Retention(workspace).plan(Rule()))

    assert not left.exists()


def test_the_place_that_a_running_run_was_given_stays(workspace: Workspace) -> None:
    store = workspace.store
    root = uri_of(workspace.settings.home / "artifacts")
    run = end(store, new_run(store, pipeline_root=root))
    place = f"{root}/{run.pipeline}/{run.id}/train/attempt/model"
    path_of(place).parent.mkdir(parents=True)
    path_of(place).write_text("x")
    execute(store, run, "train", {}, {"model": (model(place, size=1),)})
    reader = new_run(store, arguments={"data": str(path_of(place)), "rate": 0.5})

    removed = Retention(workspace).apply(Retention(workspace).plan(Rule()))
    assert (removed.runs, removed.shared) == (1, [run.id])
    assert path_of(place).exists()

    end(store, reader)
    Retention(workspace).apply(Retention(workspace).plan_runs([]))
    assert not path_of(place).exists()


def test_runs_with_outputs_of_each_other_go_although_they_are_on_different_pages(
    workspace: Workspace, monkeypatch: pytest.MonkeyPatch
) -> None:
    store = workspace.store
    monkeypatch.setattr(retention, "PAGE", 1)
    one, other = new_run(store), new_run(store)
    ours, theirs = model("file:///one"), model("file:///other")
    first = execute(store, one, "a", {}, {"out": (ours,)})
    second = execute(store, other, "b", {}, {"out": (theirs,)})
    for run, origin, artifact in ((one, second, theirs), (other, first, ours)):
        state = ExecutionState.CACHED
        execute(store, run, "c", {}, {"out": (artifact,)}, state=state, cached_execution=origin)
        end(store, run)

    removed = Retention(workspace).apply(Retention(workspace).plan(Rule()))

    assert (removed.runs, removed.kept) == (2, {})


def test_an_experiment_or_a_pipeline_that_is_not_there_is_an_error(workspace: Workspace) -> None:
    with pytest.raises(NotFoundError, match="there is no experiment 'nope'"):
        Retention(workspace).plan(Rule(experiment="nope"))
    with pytest.raises(NotFoundError, match="there is no pipeline 'nope'"):
        Retention(workspace).plan(Rule(pipeline="nope"))

"""The way back from an end: what runs again when a run is retried."""

from __future__ import annotations

import json
from collections.abc import Iterator

import pytest

from penstock.errors import InvalidArgumentError, InvalidInputError, NotFoundError
from penstock.execution.manifest import OutputManifest
from penstock.execution.reopening import reopen_run
from penstock.ir import load
from penstock.model import ROOT, Json, State
from penstock.store import RunRecord, Store, new_id
from tests.documents import COMPLETED, INT, TEXT, Group, Shell, given, pipeline, when
from tests.unit.execution.engine_worlds import Deed, FakeAttempt, FakeLauncher, engine, fail, succeed


@pytest.fixture(scope="module")
def store(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Store]:
    with Store.open(f"sqlite:///{tmp_path_factory.mktemp('reopening')}/penstock.db") as opened:
        yield opened


def ran(
    store: Store, *tasks: Shell | Group, inputs: dict[str, Json] | None = None, **deeds: Deed
) -> RunRecord:
    """A run of the pipeline, to its end; tasks named in `deeds` do those."""
    document = pipeline("small", *tasks, inputs=dict.fromkeys(inputs or {}, INT))
    version = store.pipelines.save(load(json.dumps(document)))
    run = store.runs.create(new_id(), version_id=version, name="a run", arguments=inputs or {})
    engine(store, FakeLauncher(deeds)).run(run.id)
    return run


def again(store: Store, run: RunRecord, path: str = "", **arguments: Json) -> dict[str, int]:
    """Reopen, run with a world where all goes well; how often each task was started."""
    reopen_run(store, run.id, path, arguments)
    launcher = FakeLauncher()
    assert engine(store, launcher).run(run.id) is State.SUCCEEDED
    assert {record.state for record in store.tasks.load(run.id)} <= {State.SUCCEEDED, State.SKIPPED}
    return dict(launcher.starts)


def test_what_failed_runs_again_with_what_did_not_run_for_it(store: Store) -> None:
    run = ran(
        store,
        Shell("fine"),
        Shell("bad"),
        Shell("after", after=["bad"]),
        Shell("last", after=["after"]),
        bad=fail,
    )

    assert again(store, run) == {"bad": 1, "after": 1, "last": 1}


def test_what_ran_although_upstream_failed_runs_again_too(store: Store) -> None:
    handler = Shell("handler", after=["bad"], more=when("", COMPLETED))
    run = ran(store, Shell("bad"), handler, bad=fail)

    assert again(store, run) == {"bad": 1, "handler": 1}


def test_what_a_false_condition_skipped_stays_skipped(store: Store) -> None:
    never = Shell("never", inputs={"n": (INT, given("n"))}, more=when("inputs.parameter_values['n'] > 5"))
    run = ran(store, Shell("bad"), never, inputs={"n": 1}, bad=fail)

    assert again(store, run) == {"bad": 1}
    assert store.tasks.get(run.id, "never").state is State.SKIPPED


def test_inside_a_nested_pipeline_what_succeeded_stays(store: Store) -> None:
    inner = Group("inner", [Shell("good"), Shell("bad"), Shell("next", after=["bad"])])
    run = ran(store, inner, Shell("last", after=["inner"]), bad=fail)

    assert again(store, run) == {"inner/bad": 1, "inner/next": 1, "last": 1}


def test_only_the_iterations_that_failed_run_again(store: Store) -> None:
    loop = Group("loop", [Shell("each", inputs={"item": (TEXT, given("item"))})], items=["a", "b", "c"])

    def each(attempt: FakeAttempt) -> OutputManifest:
        return fail(attempt) if "[1]" in attempt.order.path else succeed(attempt)

    run = ran(store, loop, each=each)

    assert again(store, run) == {"loop[1]/each": 1}


def test_from_a_task_on_it_and_all_that_follows_run_again(store: Store) -> None:
    tasks = [
        Shell("first"),
        Shell("second", after=["first"]),
        Shell("third", after=["second"]),
        Shell("other"),
    ]
    run = ran(store, *tasks)

    assert again(store, run, "second") == {"second": 1, "third": 1}


def test_from_a_task_inside_a_nested_pipeline_what_follows_around_it_runs_too(store: Store) -> None:
    inner = Group("inner", [Shell("one"), Shell("two", after=["one"]), Shell("three")])
    run = ran(store, inner, Shell("last", after=["inner"]), Shell("other"))

    assert again(store, run, "inner/one") == {"inner/one": 1, "inner/two": 1, "last": 1}


def test_from_a_nested_pipeline_all_of_it_runs_again(store: Store) -> None:
    run = ran(store, Group("inner", [Shell("one"), Shell("two")]), Shell("other"))

    assert again(store, run, "inner") == {"inner/one": 1, "inner/two": 1}


def test_from_one_iteration_the_others_stay(store: Store) -> None:
    loop = Group("loop", [Shell("each", inputs={"item": (TEXT, given("item"))})], items=["a", "b"])
    run = ran(store, loop, Shell("last", after=["loop"]))

    assert again(store, run, "loop[1]/each") == {"loop[1]/each": 1, "last": 1}


def test_a_canceled_run_goes_on_where_it_was(store: Store) -> None:
    version = store.pipelines.save(
        load(json.dumps(pipeline("small", Shell("one"), Shell("two", after=["one"]))))
    )
    run = store.runs.create(new_id(), version_id=version, name="a run", arguments={})
    store.runs.request_cancel(run.id)
    engine(store, FakeLauncher()).run(run.id)
    assert store.runs.get(run.id).state is State.CANCELED

    assert again(store, run) == {"one": 1, "two": 1}


def test_other_arguments_count_for_what_runs_again(store: Store) -> None:
    numbers = {"n": (INT, given("n"))}
    run = ran(store, Shell("old", inputs=numbers), Shell("new", inputs=numbers), inputs={"n": 1})

    assert again(store, run, "new", n=2) == {"new": 1}
    inputs = {record.path: dict(record.inputs.parameters) for record in store.tasks.load(run.id)}
    assert (inputs["old"], inputs["new"], inputs[ROOT]) == ({"n": 1}, {"n": 2}, {"n": 2})


def test_generations_rise_with_every_reopening_of_what_runs_again(store: Store) -> None:
    run = ran(store, Shell("one"), Shell("two"))
    again(store, run, "two")
    again(store, run, "two")

    assert [store.tasks.get(run.id, path).generation for path in ("one", "two")] == [0, 2]


class TestRefused:
    def test_a_run_that_succeeded_and_no_task_is_named(self, store: Store) -> None:
        run = ran(store, Shell("one"))

        with pytest.raises(InvalidInputError, match="succeeded; name the task to run again with --from TASK"):
            reopen_run(store, run.id, "", {})
        assert store.runs.get(run.id).state is State.SUCCEEDED

    def test_a_run_that_has_not_ended(self, store: Store) -> None:
        version = store.pipelines.save(load(json.dumps(pipeline("small", Shell("one")))))
        run = store.runs.create(new_id(), version_id=version, name="a run", arguments={})

        with pytest.raises(InvalidInputError, match="is PENDING, only an ended run can be retried"):
            reopen_run(store, run.id, "", {})

    @pytest.mark.parametrize("path", ["nope", "one/two", "loop[7]"])
    def test_a_task_without_a_record(self, store: Store, path: str) -> None:
        run = ran(store, Shell("one"))

        with pytest.raises(NotFoundError, match="has no record of a task"):
            reopen_run(store, run.id, path, {})
        assert store.runs.get(run.id).state is State.SUCCEEDED

    @pytest.mark.parametrize("arguments", [{"n": "x"}, {"m": 1}])
    def test_arguments_that_do_not_fit(self, store: Store, arguments: dict[str, Json]) -> None:
        run = ran(store, Shell("one"), inputs={"n": 1})

        with pytest.raises(InvalidArgumentError):
            reopen_run(store, run.id, "one", arguments)
        assert store.runs.get(run.id).state is State.SUCCEEDED
        assert store.tasks.get(run.id, "one").generation == 0

"""`why`: one sentence for every state and every reason a task can have."""

from __future__ import annotations

import json
import re
from collections.abc import Iterator

import pytest

from penstock.errors import NotFoundError, TaskError
from penstock.execution.local_control import LocalControl
from penstock.execution.manifest import OutputManifest
from penstock.execution.options import RunOptions
from penstock.execution.reopening import reopen_run
from penstock.execution.why import why
from penstock.ir import load
from penstock.model import Artifact, ArtifactType, Json
from penstock.store import RunRecord, Store, new_id
from tests.documents import INT, TEXT, Group, Shell, constant, given, made_by, output, pipeline, retries, when
from tests.unit.execution.control_worlds import StillLauncher, new_control
from tests.unit.execution.engine_worlds import Deed, FakeAttempt, FakeLauncher, engine, fail, succeed

ADD = Shell("add", inputs={"x": (INT, given("x"))}, outputs={"sum": INT}, cached=True)


@pytest.fixture
def store(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Store]:
    with Store.open(f"sqlite:///{tmp_path_factory.mktemp('why')}/penstock.db") as opened:
        yield opened


def submit(
    store: Store,
    *tasks: Shell | Group,
    inputs: dict[str, Json] | None = None,
    options: RunOptions = RunOptions(),
    name: str = "a run",
) -> RunRecord:
    document = pipeline("small", *tasks, inputs=dict.fromkeys(inputs or {}, INT))
    version = store.pipelines.save(load(json.dumps(document)))
    return store.runs.create(
        new_id(), version_id=version, name=name, arguments=inputs or {}, options=options.to_json()
    )


def ran(
    store: Store,
    *tasks: Shell | Group,
    inputs: dict[str, Json] | None = None,
    options: RunOptions = RunOptions(),
    name: str = "a run",
    launcher: FakeLauncher | None = None,
    **deeds: Deed,
) -> RunRecord:
    run = submit(store, *tasks, inputs=inputs, options=options, name=name)
    engine(store, launcher or FakeLauncher(deeds)).run(run.id)
    return run


def sentence(store: Store, run: RunRecord, path: str) -> str:
    """What is told, on one line, with ids of runs left out."""
    found = why(store, run.id, path)
    assert "\n" not in found and "None" not in found
    return re.sub(r" \([0-9a-f]{8}\)", "", found)


class TestBeforeTheEnd:
    def test_waiting_for_what(self, store: Store) -> None:
        run = submit(store, Shell("a"), Shell("b"), Shell("c", after=["a", "b"]))
        new_control(store).begin(run.id)

        assert sentence(store, run, "c") == "task 'c' waits for a, b"
        assert sentence(store, run, "a").startswith("task 'a' is ready and waits for a free slot")

    def test_not_reached(self, store: Store) -> None:
        run = submit(store, Shell("a"), Group("g", [Group("h", [Shell("b")])], after=["a"]))

        assert sentence(store, run, "g/h/b") == "task 'g/h/b' is not reached yet: the run has not started"
        new_control(store).begin(run.id)
        expected = "task 'g/h/b' is not reached yet: the tasks around it have not started"
        assert sentence(store, run, "g/h/b") == expected

    def test_running(self, store: Store) -> None:
        run = submit(store, Shell("a"))
        control = new_control(store)
        control.begin(run.id)
        control.prepare(run.id, "a")

        assert sentence(store, run, "a") == "task 'a' is RUNNING"
        assert sentence(store, run, "") == "the run is RUNNING"

    def test_waiting_for_a_retry(self, store: Store) -> None:
        run = submit(store, Shell("a", more=retries(2, 60)))
        control: LocalControl = new_control(store)
        control.begin(run.id)
        order = control.prepare(run.id, "a").order
        assert order is not None
        control.publish(run.id, "a", fail(FakeAttempt(order, fail, None)))

        assert sentence(store, run, "a") == "task 'a' waits for retry 1 after this failure: boom"


class TestSkipped:
    def test_by_its_condition_with_the_values(self, store: Store) -> None:
        never = Shell("never", inputs={"n": (INT, given("n"))}, more=when("inputs.parameter_values['n'] > 5"))

        assert (
            sentence(store, ran(store, never, inputs={"n": 3}), "never")
            == "task 'never' was skipped: n > 5 was false with n = 3"
        )

    def test_for_a_failure_upstream_however_far(self, store: Store) -> None:
        run = ran(store, Shell("a"), Shell("b", after=["a"]), Shell("c", after=["b"]), a=fail)

        assert sentence(store, run, "b") == "task 'b' was skipped because 'a' ended FAILED: boom"
        assert sentence(store, run, "c") == (
            "task 'c' was skipped because 'a' ended FAILED (by way of 'b'): boom"
        )

    def test_for_a_condition_upstream(self, store: Store) -> None:
        never = Shell(
            "never", inputs={"n": (INT, constant(1))}, more=when("inputs.parameter_values['n'] > 5")
        )
        run = ran(store, never, Shell("after", after=["never"]))

        found = sentence(store, run, "after")
        assert found.startswith("task 'after' was skipped") and "n > 5 was false with n = 1" in found

    def test_for_fail_fast(self, store: Store) -> None:
        run = submit(store, Shell("bad"), Shell("other"), options=RunOptions(fail_fast=True))
        engine(store, FakeLauncher({"bad": fail}), parallel=1).run(run.id)

        assert sentence(store, run, "other") == (
            "task 'other' was skipped because another task had failed (fail fast)"
        )

    def test_inside_of_what_was_skipped(self, store: Store) -> None:
        group = Group(
            "g", [Shell("a")], {"n": (INT, given("n"))}, more=when("inputs.parameter_values['n'] > 5")
        )

        found = sentence(store, ran(store, group, inputs={"n": 3}), "g/a")
        assert found.startswith("task 'g/a' never came up: ") and "n > 5 was false with n = 3" in found


class TestFailed:
    def test_how_and_after_how_many_attempts(self, store: Store) -> None:
        run = ran(store, Shell("a"), Shell("b", more=retries(2)), a=fail, b=fail)

        assert sentence(store, run, "a") == "task 'a' failed: boom"
        assert sentence(store, run, "b") == "task 'b' failed after 3 attempts: boom"

    def test_for_what_is_in_it(self, store: Store) -> None:
        run = ran(store, Group("g", [Shell("a")]), a=fail)

        assert sentence(store, run, "g") == "'g' failed: g/a: boom"
        assert sentence(store, run, "") == "the run is FAILED: g/a: boom"

    def test_by_an_input_that_is_missing(self, store: Store) -> None:
        lazy = Shell("lazy", outputs={"out": TEXT})
        needy = Shell("needy", inputs={"x": (TEXT, output("lazy", "out"))}, after=["lazy"])

        found = sentence(store, ran(store, lazy, needy), "needy")
        assert found == (
            "task 'needy' failed: input 'x' of task 'needy' is required and has no value: "
            "task 'lazy' left no output 'out'"
        )

    def test_by_a_condition_that_has_no_truth(self, store: Store) -> None:
        odd = Shell("odd", inputs={"n": (INT, constant(1))}, more=when("inputs.parameter_values['n'] > 'a'"))

        assert sentence(store, ran(store, odd), "odd").startswith("task 'odd' failed: the condition ")

    def test_because_it_is_refused(self, store: Store) -> None:
        launcher = StillLauncher()
        run = submit(store, Shell("a"))
        control = new_control(store, launcher=launcher)
        control.begin(run.id)

        def refuse() -> None:
            raise TaskError("there are no pods here")

        launcher.on_isolation = refuse
        control.prepare(run.id, "a")

        assert sentence(store, run, "a") == "task 'a' failed: there are no pods here"


def test_canceled_with_the_run(store: Store) -> None:
    run = submit(store, Shell("a"))
    store.runs.request_cancel(run.id)
    engine(store, FakeLauncher()).run(run.id)

    assert sentence(store, run, "a") == "task 'a' was canceled with the run"


class TestSucceeded:
    def test_from_the_cache_and_by_whose_work(self, store: Store) -> None:
        ran(store, ADD, inputs={"x": 1}, name="first")
        second = ran(store, ADD, inputs={"x": 1})

        assert sentence(store, second, "add") == (
            "task 'add' was served from the cache: run 'first' had done the same work"
        )

    @pytest.mark.parametrize("path", ["g", "loop", "loop[0]"])
    def test_containers_just_did(self, store: Store, path: str) -> None:
        run = ran(store, Group("g", [Shell("a")]), Group("loop", [Shell("b")], items=["x"]))

        assert sentence(store, run, path) == f"'{path}' succeeded"


def not_cached(store: Store, run: RunRecord, path: str = "add") -> str:
    found = sentence(store, run, path)
    return found.removeprefix(f"task '{path}' ran and succeeded; ")


class TestNotCached:
    def test_because_no_run_had_done_it(self, store: Store) -> None:
        run = ran(store, ADD, inputs={"x": 1})

        assert not_cached(store, run) == "it was not cached because no earlier run had done this task"

    def test_because_an_input_changed(self, store: Store) -> None:
        ran(store, ADD, inputs={"x": 1}, name="first")
        second = ran(store, ADD, inputs={"x": 2})

        assert not_cached(store, second) == (
            "it was not cached because input 'x' changed from 1 to 2 since run 'first'"
        )

    def test_because_an_input_came_to_be(self, store: Store) -> None:
        ran(store, Shell("add", cached=True), name="first")
        second = ran(store, Shell("add", inputs={"y": (TEXT, constant("z" * 100))}, cached=True))

        found = not_cached(store, second)
        assert found.startswith("it was not cached because input 'y' changed from nothing to \"zzz")
        assert "... since run 'first'" in found and len(found) < 200

    def test_because_an_artifact_was_made_anew(self, store: Store) -> None:
        def make(attempt: FakeAttempt) -> OutputManifest:
            model = Artifact(new_id(), "model", ArtifactType("system.Model", "0.0.1"), "file:///m")
            return OutputManifest(
                attempt.order.attempt_id, succeed(attempt).outcome, artifacts={"model": (model,)}
            )

        maker = Shell("make", made={"model": "system.Model"})
        taker = Shell("add", artifacts={"model": made_by("make", "model")}, after=["make"], cached=True)
        ran(store, maker, taker, name="first", make=make)
        second = ran(store, maker, taker, make=make)

        assert not_cached(store, second) == (
            "it was not cached because input artifact 'model' was made anew since run 'first'"
        )

    @pytest.mark.parametrize(
        "changed", [Shell("add", "false", cached=True), Shell("add", image="debian", cached=True),
                    Shell("add", env={"LEVEL": "2"}, cached=True)]
    )  # fmt: skip
    def test_because_what_it_runs_changed(self, store: Store, changed: Shell) -> None:
        ran(store, Shell("add", cached=True), name="first")

        assert not_cached(store, ran(store, changed)) == (
            "it was not cached because its image, command, arguments or environment changed since run 'first'"
        )

    def test_because_it_ran_under_something_else(self, store: Store) -> None:
        class Other(FakeLauncher):
            def isolation(self, executor: object, platform: object) -> str:
                return "another python"

        ran(store, ADD, inputs={"x": 1}, name="first")
        second = ran(store, ADD, inputs={"x": 1}, launcher=Other())

        assert not_cached(store, second) == (
            "it was not cached because it ran under another python, and under fake in run 'first'"
        )

    def test_because_the_declared_outputs_changed(self, store: Store) -> None:
        plain = Shell("add", command=["true"], cached=True)
        ran(store, plain, name="first")
        second = ran(store, Shell("add", command=["true"], outputs={"more": TEXT}, cached=True))

        assert not_cached(store, second) == (
            "it was not cached because its declared outputs, the secrets it is given, or the artifact store "
            "changed since run 'first'"
        )

    def test_because_the_artifacts_are_gone(self, store: Store) -> None:
        ran(store, ADD, inputs={"x": 1}, name="first")
        second = submit(store, ADD, inputs={"x": 1})
        control = LocalControl(store, FakeLauncher(), lambda values: False, "a test")
        control.begin(second.id)
        order = control.prepare(second.id, "add").order
        assert order is not None
        control.publish(second.id, "add", succeed(FakeAttempt(order, succeed, None)))

        assert not_cached(store, second) == (
            "the artifacts of the same work in run 'first' could not be read any more"
        )

    def test_because_the_pipeline_says_so(self, store: Store) -> None:
        assert not_cached(store, ran(store, Shell("add"))) == "its caching is switched off in the pipeline"

    def test_because_the_run_was_started_so(self, store: Store) -> None:
        run = ran(store, ADD, inputs={"x": 1}, options=RunOptions(cache=False))

        assert not_cached(store, run) == "the run was started with the cache switched off"

    def test_because_it_was_asked_to_run_again(self, store: Store) -> None:
        ran(store, ADD, inputs={"x": 1}, name="first")
        run = ran(store, ADD, inputs={"x": 1})
        reopen_run(store, run.id, "add", {})
        engine(store, FakeLauncher()).run(run.id)

        assert not_cached(store, run) == "it was asked to run again, which passes the cache over"


@pytest.mark.parametrize(
    "path", ["nope", "add/nope", "add[0]", "loop/each", "loop[0]/nope", "loop[x]/each", "/"]
)
def test_of_a_task_that_is_not_in_the_pipeline(store: Store, path: str) -> None:
    run = ran(store, ADD, Group("loop", [Shell("each")], items=["a"]), inputs={"x": 1})

    with pytest.raises(NotFoundError, match="has no task"):
        why(store, run.id, path)

"""The embedded engine, over a launcher that starts nothing."""

from __future__ import annotations

import os
import signal
import threading
import time
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor

import pytest
import yaml

from penstock.errors import LeaseError, StoreError, TaskError
from penstock.execution import embedded
from penstock.execution.manifest import OutputManifest
from penstock.execution.options import RunOptions
from penstock.ir import load
from penstock.model import JsonObject, Reason, State, TaskRun
from penstock.store import AttemptState, RunRecord, Store, new_id
from tests.documents import Group, Shell, pipeline, retries
from tests.unit.execution.engine_worlds import FakeAttempt, FakeLauncher, engine, fail, succeed, until


@pytest.fixture(scope="module")
def store(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Store]:
    with Store.open(f"sqlite:///{tmp_path_factory.mktemp('engine')}/penstock.db") as opened:
        yield opened


@pytest.fixture(autouse=True)
def quick(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(embedded, "POLL_SECONDS", 0.05)


def submit(
    store: Store,
    *tasks: Shell | Group,
    options: RunOptions = RunOptions(),
    platform: JsonObject | None = None,
) -> RunRecord:
    document = pipeline("small", *tasks)
    text = yaml.safe_dump_all([document, platform] if platform else [document])
    version = store.pipelines.save(load(text))
    return store.runs.create(
        new_id(), version_id=version, name="a run", arguments={}, options=options.to_json()
    )


def states(store: Store, run: RunRecord) -> dict[str, State]:
    return {record.path: record.state for record in store.tasks.load(run.id) if record.path}


def test_a_run_goes_from_its_first_task_to_its_end(store: Store) -> None:
    run = submit(store, Shell("first"), Group("inner", [Shell("second")], after=["first"]))
    launcher = FakeLauncher()

    assert engine(store, launcher).run(run.id) is State.SUCCEEDED

    assert list(launcher.starts) == ["first", "inner/second"]
    assert store.runs.get(run.id).owner is None


def test_each_change_is_reported_once_and_in_the_callers_thread(store: Store) -> None:
    run = submit(store, Shell("first"), Shell("second", after=["first"]))
    seen: list[tuple[str, State]] = []
    threads: set[int] = set()

    def watch(record: TaskRun) -> None:
        seen.append((record.path, record.state))
        threads.add(threading.get_ident())

    engine(store, FakeLauncher(), on_change=watch).run(run.id)

    assert seen == [
        ("", State.RUNNING),
        ("first", State.RUNNING),
        ("first", State.SUCCEEDED),
        ("second", State.RUNNING),
        ("second", State.SUCCEEDED),
        ("", State.SUCCEEDED),
    ]
    assert threads == {threading.get_ident()}


@pytest.mark.parametrize("parallel", [1, 3])
def test_no_more_attempts_run_at_once_than_are_allowed(store: Store, parallel: int) -> None:
    run = submit(store, *(Shell(f"task-{n}") for n in range(6)))
    now, most = [0], [0]
    lock, together = threading.Lock(), threading.Barrier(parallel)

    def work(attempt: FakeAttempt) -> OutputManifest:
        with lock:
            now[0] += 1
            most[0] = max(most[0], now[0])
        together.wait(30)
        with lock:
            now[0] -= 1
        return succeed(attempt)

    launcher = FakeLauncher({f"task-{n}": work for n in range(6)})
    engine(store, launcher, parallel=parallel).run(run.id)

    assert most == [parallel]


def test_what_the_launcher_refuses_at_the_start_is_the_tasks_error(store: Store) -> None:
    class Refusing(FakeLauncher):
        def start(self, order: object, on_line: object = None, canceled: object = None) -> FakeAttempt:
            raise TaskError("the argument is too long")

    run = submit(store, Shell("train"))

    assert engine(store, Refusing()).run(run.id) is State.FAILED
    record = store.tasks.get(run.id, "train")
    assert (record.reason, record.error) == (Reason.REFUSED, "the argument is too long")


def test_a_fault_of_ours_fails_the_task_and_not_the_run_of_others(store: Store) -> None:
    def broken(attempt: FakeAttempt) -> OutputManifest:
        raise ZeroDivisionError("division by zero")

    run = submit(store, Shell("broken"), Shell("fine"))

    assert engine(store, FakeLauncher({"broken": broken})).run(run.id) is State.FAILED
    assert states(store, run) == {"broken": State.FAILED, "fine": State.SUCCEEDED}
    error = store.tasks.get(run.id, "broken").error
    assert error == "penstock failed while it ran this task: ZeroDivisionError: division by zero"


def test_a_disk_of_ours_that_fails_stops_the_engine_and_loses_nothing(store: Store) -> None:
    full = [True]

    def keep(attempt: FakeAttempt) -> OutputManifest:
        if full[0]:
            raise OSError(28, "No space left on device")
        return succeed(attempt)

    run = submit(store, Shell("train"))
    launcher = FakeLauncher({"train": keep})
    with pytest.raises(StoreError, match=r"cannot be kept: .*No space left on device; see to the disk"):
        engine(store, launcher).run(run.id)
    full[0] = False

    assert engine(store, launcher).run(run.id) is State.SUCCEEDED
    assert launcher.starts == {"train": 1}


def test_lines_of_output_come_with_the_path_of_their_task(store: Store) -> None:
    def speak(attempt: FakeAttempt) -> OutputManifest:
        assert attempt.on_line is not None
        attempt.on_line("hello")
        return succeed(attempt)

    run = submit(store, Group("inner", [Shell("speak")]))
    heard: list[tuple[str, str]] = []

    engine(store, FakeLauncher({"speak": speak}), on_line=lambda path, text: heard.append((path, text))).run(
        run.id
    )

    assert heard == [("inner/speak", "hello")]


def test_whoever_listens_cannot_harm_a_task(store: Store) -> None:
    def speak(attempt: FakeAttempt) -> OutputManifest:
        assert attempt.on_line is not None
        attempt.on_line("one")
        attempt.on_line("two")
        return succeed(attempt)

    def listen(path: str, text: str) -> None:
        heard.append(text)
        raise BrokenPipeError

    heard: list[str] = []
    run = submit(store, Shell("speak"))

    assert engine(store, FakeLauncher({"speak": speak}), on_line=listen).run(run.id) is State.SUCCEEDED
    assert heard == ["one"]


def test_a_retry_waits_while_other_tasks_go_on(store: Store) -> None:
    tries: list[float] = []

    def flaky(attempt: FakeAttempt) -> OutputManifest:
        tries.append(time.monotonic())
        return fail(attempt) if len(tries) == 1 else succeed(attempt)

    run = submit(store, Shell("flaky", more=retries(1, 0.2)), Shell("other"), Shell("last", after=["other"]))

    assert engine(store, FakeLauncher({"flaky": flaky}), parallel=1).run(run.id) is State.SUCCEEDED
    assert tries[1] - tries[0] >= 0.2
    assert store.tasks.get(run.id, "flaky").retries == 1


def test_a_failure_stops_what_depends_on_it_and_nothing_else(store: Store) -> None:
    run = submit(
        store, Shell("bad"), Shell("after", after=["bad"]), Shell("other"), Shell("last", after=["other"])
    )

    assert engine(store, FakeLauncher({"bad": fail}), parallel=1).run(run.id) is State.FAILED
    assert states(store, run) == {
        "bad": State.FAILED, "after": State.SKIPPED, "other": State.SUCCEEDED, "last": State.SUCCEEDED,
    }  # fmt: skip


def test_with_fail_fast_nothing_new_starts_after_a_failure_and_what_runs_may_end(store: Store) -> None:
    gate = threading.Event()

    def bad(attempt: FakeAttempt) -> OutputManifest | None:
        return fail(attempt) if len(launcher.attempts) == 2 else None

    launcher = FakeLauncher({"bad": bad, "long": until(gate)})
    run = submit(
        store, Shell("bad"), Shell("long"), Shell("next", after=["long"]), options=RunOptions(fail_fast=True)
    )
    with ThreadPoolExecutor(1) as threads:
        ended = threads.submit(engine(store, launcher).run, run.id)
        while states(store, run).get("bad") is not State.FAILED:
            time.sleep(0.01)
        gate.set()

        assert ended.result(30) is State.FAILED
    assert states(store, run) == {"bad": State.FAILED, "long": State.SUCCEEDED, "next": State.SKIPPED}


class TestCancel:
    def test_a_request_in_the_store_stops_what_runs_and_starts_nothing_new(self, store: Store) -> None:
        launcher = FakeLauncher({"long": until(threading.Event())})
        run = submit(store, Shell("long"), Shell("next", after=["long"]))
        with ThreadPoolExecutor(1) as threads:
            ended = threads.submit(engine(store, launcher).run, run.id)
            launcher.wait_for(1)
            store.runs.request_cancel(run.id)

            assert ended.result(30) is State.CANCELED
        assert states(store, run) == {"long": State.CANCELED, "next": State.CANCELED}
        assert [one.graces for one in launcher.attempts.values()] == [[embedded.STOP_GRACE_SECONDS]]

    def test_an_interrupt_cancels_and_a_second_one_kills(self, store: Store) -> None:
        launcher = FakeLauncher({"long": until(threading.Event())}, stubborn=True)
        run = submit(store, Shell("long"), Shell("next", after=["long"]))

        def interrupt() -> None:
            launcher.wait_for(1)
            (attempt,) = launcher.attempts.values()
            os.kill(os.getpid(), signal.SIGINT)
            while not attempt.graces:
                time.sleep(0.01)
            os.kill(os.getpid(), signal.SIGINT)

        with ThreadPoolExecutor(1) as threads:
            threads.submit(interrupt)
            assert engine(store, launcher).run(run.id) is State.CANCELED

        (attempt,) = launcher.attempts.values()
        assert attempt.graces == [embedded.STOP_GRACE_SECONDS, 0.0]
        assert signal.getsignal(signal.SIGINT) is signal.default_int_handler

    @pytest.mark.parametrize("interrupt", [True, False])
    def test_what_is_still_being_prepared_does_not_begin(self, store: Store, interrupt: bool) -> None:
        launcher = FakeLauncher(slow=["long"])
        run = submit(store, Shell("long"))

        def cancel() -> None:
            assert launcher.preparing.wait(30)
            if interrupt:
                os.kill(os.getpid(), signal.SIGINT)
            else:
                store.runs.request_cancel(run.id)

        with ThreadPoolExecutor(1) as threads:
            threads.submit(cancel)
            assert engine(store, launcher).run(run.id) is State.CANCELED
        assert states(store, run) == {"long": State.CANCELED} and not launcher.attempts

    def test_after_a_failure_nothing_begins_that_is_still_being_prepared(self, store: Store) -> None:
        launcher = FakeLauncher(slow=["long"])
        launcher.deeds = {"bad": lambda attempt: fail(attempt) if launcher.preparing.is_set() else None}
        run = submit(store, Shell("bad"), Shell("long"), options=RunOptions(fail_fast=True))

        assert engine(store, launcher).run(run.id) is State.FAILED

        assert states(store, run) == {"bad": State.FAILED, "long": State.SKIPPED}
        assert list(launcher.starts) == ["bad"]
        assert [one.state for one in store.attempts.list(run.id, "long")] == [AttemptState.CANCELED]

    def test_what_waits_for_a_retry_is_canceled_at_once(self, store: Store) -> None:
        launcher = FakeLauncher({"flaky": fail})
        run = submit(store, Shell("flaky", more=retries(1, 3600)))
        with ThreadPoolExecutor(1) as threads:
            ended = threads.submit(engine(store, launcher).run, run.id)
            while states(store, run).get("flaky") is not State.PENDING:
                time.sleep(0.01)
            store.runs.request_cancel(run.id)

            assert ended.result(30) is State.CANCELED
        assert states(store, run) == {"flaky": State.CANCELED}


def test_a_run_that_exceeds_its_deadline_fails_and_says_so(store: Store) -> None:
    platform: JsonObject = {
        "platforms": {"kubernetes": {"pipelineConfig": {"activeDeadlineSeconds": 1}}},
    }
    launcher = FakeLauncher({"long": until(threading.Event())})
    run = submit(store, Shell("long"), Shell("next", after=["long"]), platform=platform)

    assert engine(store, launcher).run(run.id) is State.FAILED

    assert store.runs.get(run.id).error == "the run exceeded its deadline of 1 seconds"
    assert states(store, run) == {"long": State.CANCELED, "next": State.CANCELED}


class TestResume:
    def test_an_attempt_that_still_runs_is_taken_over(self, store: Store) -> None:
        gate = threading.Event()
        launcher = FakeLauncher({"long": until(gate)})
        run = submit(store, Shell("first"), Shell("long", after=["first"]))

        class DeadError(Exception):
            """The engine's process is gone."""

        def die(record: TaskRun) -> None:
            if (record.path, record.state) == ("long", State.RUNNING):
                raise DeadError

        with pytest.raises(DeadError):
            engine(store, launcher, on_change=die).run(run.id)
        launcher.attempts.clear()
        gate.set()

        assert engine(store, launcher).run(run.id) is State.SUCCEEDED
        assert launcher.starts == {"first": 1, "long": 1}
        assert len(store.attempts.list(run.id)) == 2

    def test_a_run_that_has_ended_has_nothing_to_do(self, store: Store) -> None:
        launcher = FakeLauncher()
        run = submit(store, Shell("train"))
        engine(store, launcher).run(run.id)

        assert engine(store, launcher).run(run.id) is State.SUCCEEDED
        assert launcher.starts == {"train": 1}

    def test_a_living_engine_keeps_its_run(self, store: Store) -> None:
        run = submit(store, Shell("train"))
        store.leases.claim(run.id, "another engine", 30)

        with pytest.raises(LeaseError, match="driven by another engine"):
            engine(store, FakeLauncher()).run(run.id)

    def test_an_engine_whose_run_was_taken_over_stops_and_leaves_the_attempts_alone(
        self, store: Store
    ) -> None:
        gate = threading.Event()
        launcher = FakeLauncher({"long": until(gate)})
        run = submit(store, Shell("long"), Shell("next", after=["long"]))
        with ThreadPoolExecutor(1) as threads:
            loser = threads.submit(engine(store, launcher, owner="slow").run, run.id)
            launcher.wait_for(1)
            store.leases.take_over(run.id, "quick", 30, former="slow")
            gate.set()
            with pytest.raises(LeaseError):
                loser.result(30)

        assert states(store, run) == {"long": State.RUNNING}
        assert engine(store, launcher, owner="quick").run(run.id) is State.SUCCEEDED
        assert launcher.starts == {"long": 1, "next": 1}

"""What *prepare* and *publish* promise on a real database, whoever asks, and however often."""

from __future__ import annotations

import json
import random
from collections import Counter
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from dataclasses import replace

import pytest

from penstock.errors import LeaseError, NotFoundError, TaskError
from penstock.execution.control import Step
from penstock.execution.local_control import LocalControl
from penstock.execution.manifest import Outcome, OutputManifest
from penstock.execution.options import RunOptions
from penstock.execution.order import LaunchOrder
from penstock.ir import load
from penstock.model import Json, Reason, State
from penstock.store import AttemptState, RunRecord, Store, new_id
from tests.documents import Group, Shell, pipeline, retries
from tests.unit.execution.control_worlds import (
    StillLauncher,
    new_control,
)
from tests.unit.store.test_cost import statements


@pytest.fixture(scope="module")
def store(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Store]:
    with Store.open(f"sqlite:///{tmp_path_factory.mktemp('control')}/penstock.db") as opened:
        yield opened


def run_of(
    store: Store, *tasks: Shell | Group, name: str = "small", options: RunOptions = RunOptions()
) -> RunRecord:
    """The cache keeps pipelines of another `name` apart."""
    version = store.pipelines.save(load(json.dumps(pipeline(name, *tasks))))
    return store.runs.create(
        new_id(), version_id=version, name="a run", arguments={}, options=options.to_json(), experiment="e"
    )


def ask(control: LocalControl, run: RunRecord, path: str) -> LaunchOrder:
    order = control.prepare(run.id, path).order
    assert order is not None
    return order


def done(order: LaunchOrder, **outputs: Json) -> OutputManifest:
    return OutputManifest(order.attempt_id, Outcome.SUCCEEDED, exit_code=0, parameters=outputs)


def failed(order: LaunchOrder) -> OutputManifest:
    return OutputManifest(order.attempt_id, Outcome.FAILED, exit_code=1, error="boom")


def test_two_controls_that_ask_at_once_claim_one_attempt(store: Store) -> None:
    """The second one asks while the first one has judged and not yet claimed."""
    run = run_of(store, Shell("train"))
    other = new_control(store)
    launcher = StillLauncher()
    one = new_control(store, launcher=launcher)
    one.begin(run.id)
    answers: list[LaunchOrder] = []
    launcher.on_isolation = lambda: answers.append(ask(other, run, "train"))

    step = one.prepare(run.id, "train")

    assert step.order is not None and step.adopted
    assert [step.order.attempt_id] == [answer.attempt_id for answer in answers]
    assert len(store.attempts.list(run.id)) == 1


def test_a_task_that_another_control_has_ended_meanwhile_is_not_launched(store: Store) -> None:
    run = run_of(store, Shell("train"), Shell("deploy", after=["train"]))
    other = new_control(store)
    launcher = StillLauncher()
    one = new_control(store, launcher=launcher)
    one.begin(run.id)

    def overtake() -> None:
        other.publish(run.id, "train", done(ask(other, run, "train")))

    launcher.on_isolation = overtake
    step = one.prepare(run.id, "train")

    assert step.order is None
    assert step.following == ("deploy",)
    assert store.tasks.get(run.id, "train").state is State.SUCCEEDED


def test_siblings_that_end_at_once_close_what_contains_them(
    store: Store, monkeypatch: pytest.MonkeyPatch
) -> None:
    run = run_of(store, Group("inner", [Shell("one"), Shell("two")]))
    controls = [new_control(store), new_control(store)]
    controls[0].begin(run.id)
    controls[0].prepare(run.id, "inner")
    orders = [ask(controls[0], run, "inner/one"), ask(controls[0], run, "inner/two")]

    def overtake(name: str) -> None:
        if name == "publish.before":
            monkeypatch.undo()
            controls[1].publish(run.id, "inner/two", done(orders[1]))

    monkeypatch.setattr("penstock.execution.local_control.failpoint", overtake)
    controls[0].publish(run.id, "inner/one", done(orders[0]))

    assert store.tasks.get(run.id, "inner").state is State.SUCCEEDED
    assert store.runs.get(run.id).state is State.SUCCEEDED


def test_many_workers_at_once_run_each_task_once(store: Store) -> None:
    """As a scheduler's workers do: threads that share nothing but the database, all asking for all tasks."""
    inner = [Shell(f"inner-{n}") for n in range(3)]
    tasks = [
        *(Shell(f"task-{n}") for n in range(4)),
        Group("group", inner),
        Shell("last", after=["task-0", "group"]),
    ]
    run = run_of(store, *tasks)
    paths = ["task-0", "task-1", "task-2", "task-3", "group", *(f"group/{one.name}" for one in inner), "last"]
    starts: Counter[str] = Counter()

    def work(seed: int) -> None:
        rng = random.Random(seed)
        control = new_control(store)
        control.begin(run.id)
        while not store.runs.get(run.id).state.ended:
            path = rng.choice(paths)
            step = control.prepare(run.id, path)
            if step.order is not None:
                starts[step.order.attempt_id] += not step.adopted
                control.publish(run.id, path, done(step.order))

    with ThreadPoolExecutor(4) as threads:
        for ended in [threads.submit(work, seed) for seed in range(4)]:
            ended.result(60)

    assert store.runs.get(run.id).state is State.SUCCEEDED
    attempts = store.attempts.list(run.id)
    assert sorted(one.path for one in attempts) == sorted(path for path in paths if path != "group")
    assert starts == Counter(one.id for one in attempts)


def test_the_end_of_an_attempt_from_before_a_reopening_is_not_the_tasks_end(store: Store) -> None:
    run = run_of(store, Shell("train"), Shell("other"))
    control = new_control(store)
    control.begin(run.id)
    former = ask(control, run, "train")
    ahead = replace(store.tasks.get(run.id, "train"), state=State.PENDING, generation=1, attempts=0)
    store.tasks.reopen(run.id, [ahead])

    assert control.publish(run.id, "train", done(former)) == Step()

    assert store.tasks.get(run.id, "train").state is State.PENDING
    assert store.attempts.get(former.attempt_id).state is AttemptState.SUCCEEDED
    now = ask(control, run, "train")
    assert (now.generation, now.number) == (1, 1)


def test_a_live_attempt_from_before_a_reopening_is_not_adopted(store: Store) -> None:
    run = run_of(store, Shell("train"))
    control = new_control(store)
    control.begin(run.id)
    former = ask(control, run, "train")
    ahead = replace(store.tasks.get(run.id, "train"), state=State.PENDING, generation=1, attempts=0)
    store.tasks.reopen(run.id, [ahead])

    step = control.prepare(run.id, "train")

    assert step.order is not None and not step.adopted
    assert step.order.attempt_id != former.attempt_id
    assert store.attempts.get(former.attempt_id).state is AttemptState.CANCELED
    assert control.publish(run.id, "train", done(former)) == Step()
    assert store.tasks.get(run.id, "train").state is State.RUNNING


def test_a_reopened_task_that_runs_without_an_attempt_of_its_own_is_launched_again(store: Store) -> None:
    run = run_of(store, Shell("train"))
    control = new_control(store)
    control.begin(run.id)
    ask(control, run, "train")
    store.tasks.reopen(run.id, [replace(store.tasks.get(run.id, "train"), generation=1, attempts=0)])

    assert control.prepare(run.id, "train").following == ("train",)


def test_an_attempt_of_another_task_or_run_does_not_end_this_one(store: Store) -> None:
    run, other = run_of(store, Shell("train"), Shell("deploy")), run_of(store, Shell("train"))
    control = new_control(store)
    for one in (run, other):
        control.begin(one.id)
    train, deploy, elsewhere = (
        ask(control, run, "train"),
        ask(control, run, "deploy"),
        ask(control, other, "train"),
    )

    assert control.publish(run.id, "train", done(deploy)) == Step()
    assert control.publish(run.id, "train", done(elsewhere)) == Step()

    live = {one.id for one in (*store.attempts.live(run.id), *store.attempts.live(other.id))}
    assert live == {train.attempt_id, deploy.attempt_id, elsewhere.attempt_id}
    with pytest.raises(NotFoundError):
        control.publish(run.id, "train", OutputManifest("never-was", Outcome.SUCCEEDED))


def test_a_lost_attempt_is_followed_by_another_at_no_charge(store: Store) -> None:
    run = run_of(store, Shell("train"))
    control = new_control(store)
    control.begin(run.id)
    lost = ask(control, run, "train")

    step = control.publish(run.id, "train", OutputManifest(lost.attempt_id, Outcome.LOST))

    assert step.following == ("train",)
    again = ask(control, run, "train")
    assert (again.number, again.retry_index) == (2, 0)


def test_a_task_does_not_end_before_it_starts_whatever_the_clocks_say(store: Store) -> None:
    run = run_of(store, Shell("train"))
    control = new_control(store, clock=lambda: 1000.7)
    control.begin(run.id)
    order = ask(control, run, "train")
    control.publish(run.id, "train", OutputManifest(order.attempt_id, Outcome.SUCCEEDED, ended_at=1000.0))
    record = store.tasks.get(run.id, "train")
    assert (record.started_at, record.ended_at) == (1000.7, 1000.7)


def test_attempts_that_are_lost_again_and_again_are_made_in_no_haste(store: Store) -> None:
    now = [1000.0]
    run = run_of(store, Shell("train"))
    control = new_control(store, clock=lambda: now[0])
    control.begin(run.id)
    pauses: list[float] = []
    for _ in range(9):
        lost = ask(control, run, "train")
        control.publish(run.id, "train", OutputManifest(lost.attempt_id, Outcome.LOST, error="no node"))
        due = store.tasks.get(run.id, "train").retry_at
        pauses.append(0.0 if due is None else due - now[0])
        now[0] += pauses[-1]
    assert pauses == [0, 0, 0, 5, 10, 20, 40, 60, 60]


def test_a_running_task_without_a_live_attempt_is_launched_again(store: Store) -> None:
    run = run_of(store, Shell("train"))
    control = new_control(store)
    control.begin(run.id)
    order = ask(control, run, "train")
    store.attempts.finish(order.attempt_id, AttemptState.LOST)

    assert control.prepare(run.id, "train").following == ("train",)

    assert ask(control, run, "train").number == 2


def test_a_retry_waits_for_its_time(store: Store) -> None:
    now = [1000.0]
    run = run_of(store, Shell("flaky", more=retries(1, 60)))
    control = new_control(store, clock=lambda: now[0])
    control.begin(run.id)

    step = control.publish(run.id, "flaky", failed(ask(control, run, "flaky")))

    assert step.again == (("flaky", 1060.0),) and step.following == ()
    early = control.prepare(run.id, "flaky")
    assert early.order is None and early.again == (("flaky", 1060.0),)
    now[0] = 1060.0
    order = ask(control, run, "flaky")
    assert (order.number, order.retry_index) == (2, 1)
    control.publish(run.id, "flaky", failed(order))
    assert store.tasks.get(run.id, "flaky").state is State.FAILED


def test_what_waits_says_for_whom(store: Store) -> None:
    run = run_of(store, Shell("train"), Shell("deploy", after=["train"]))
    control = new_control(store)
    control.begin(run.id)

    assert control.prepare(run.id, "deploy") == Step(wait=("train",))


def test_what_the_launcher_refuses_fails_without_an_attempt(store: Store) -> None:
    run = run_of(store, Shell("train"), Shell("deploy", after=["train"]))
    launcher = StillLauncher()
    control = new_control(store, launcher=launcher)
    control.begin(run.id)

    def refuse() -> None:
        raise TaskError("there are no pods here")

    launcher.on_isolation = refuse
    assert control.prepare(run.id, "train").following == ("deploy",)

    record = store.tasks.get(run.id, "train")
    assert (record.state, record.reason, record.error) == (
        State.FAILED,
        Reason.REFUSED,
        "there are no pods here",
    )
    assert store.attempts.list(run.id) == []


@pytest.mark.parametrize("exclusive", [True, False])
def test_nothing_starts_once_a_run_is_canceled(store: Store, exclusive: bool) -> None:
    run = run_of(store, Shell("train"), Shell("other"), Shell("deploy", after=["train"]))
    control = new_control(store, exclusive=exclusive)
    control.begin(run.id)
    order = ask(control, run, "train")

    control.cancel(run.id)
    control.cancel(run.id)
    control.publish(run.id, "train", OutputManifest(order.attempt_id, Outcome.CANCELED))
    control.prepare(run.id, "other")
    control.prepare(run.id, "deploy")

    states = {record.path: record.state for record in store.tasks.load(run.id)}
    assert states == dict.fromkeys(("", "train", "other", "deploy"), State.CANCELED)
    assert store.runs.get(run.id).state is State.CANCELED


def test_a_failure_after_the_cancellation_is_one_only_if_no_retry_was_left(store: Store) -> None:
    run = run_of(store, Shell("once"), Shell("flaky", more=retries(1)))
    control = new_control(store)
    control.begin(run.id)
    once, flaky = (ask(control, run, name) for name in ("once", "flaky"))

    control.cancel(run.id)
    control.publish(run.id, "flaky", failed(flaky))
    control.publish(run.id, "once", failed(once))

    found = {record.path: record for record in store.tasks.load(run.id)}
    assert (found["flaky"].state, found["flaky"].reason) == (State.CANCELED, Reason.CANCELED)
    assert found["once"].state is State.FAILED
    assert {found[path].error for path in ("once", "flaky")} == {"boom"}
    assert store.runs.get(run.id).state is State.CANCELED


def test_a_nested_pipeline_that_would_have_been_tried_again_was_canceled(store: Store) -> None:
    run = run_of(store, Group("inner", [Shell("train")], more=retries(1)))
    control = new_control(store)
    control.begin(run.id)
    control.prepare(run.id, "inner")
    order = ask(control, run, "inner/train")

    control.cancel(run.id)
    control.publish(run.id, "inner/train", failed(order))

    states = {record.path: record.state for record in store.tasks.load(run.id)}
    assert states == {"": State.CANCELED, "inner": State.CANCELED, "inner/train": State.FAILED}


def test_a_run_that_failed_before_it_was_canceled_is_canceled_if_anything_was_cut_short(store: Store) -> None:
    run = run_of(store, Shell("train"), Shell("other"))
    control = new_control(store)
    control.begin(run.id)
    train, other = (ask(control, run, name) for name in ("train", "other"))

    control.publish(run.id, "train", failed(train))
    control.cancel(run.id)
    control.publish(run.id, "other", OutputManifest(other.attempt_id, Outcome.CANCELED))

    assert store.runs.get(run.id).state is State.CANCELED


@pytest.mark.parametrize(("last", "state"), [("SUCCEEDED", State.SUCCEEDED), ("FAILED", State.FAILED)])
def test_a_run_that_was_canceled_too_late_for_anything_ends_as_it_would_have(
    store: Store, last: str, state: State
) -> None:
    run = run_of(store, Shell("train"))
    control = new_control(store)
    control.begin(run.id)
    order = ask(control, run, "train")

    control.cancel(run.id)
    control.publish(run.id, "train", OutputManifest(order.attempt_id, Outcome(last), error="it broke"))

    assert store.runs.get(run.id).state is state


def test_a_control_whose_run_was_taken_over_writes_nothing(store: Store) -> None:
    run = run_of(store, Shell("train"))
    control = new_control(store, exclusive=True)
    control.token = store.leases.claim(run.id, "one", 30)
    control.begin(run.id)
    order = ask(control, run, "train")
    store.leases.take_over(run.id, "two", 30, former="one")

    with pytest.raises(LeaseError):
        control.publish(run.id, "train", done(order))

    assert store.tasks.get(run.id, "train").state is State.RUNNING
    assert store.attempts.get(order.attempt_id).state is AttemptState.RUNNING


def test_the_cache_answers_another_run_only_while_its_artifacts_can_be_read(store: Store) -> None:
    part = Shell("train", outputs={"score": "NUMBER_INTEGER"}, cached=True)
    first, second, third = (run_of(store, part, name="readable") for _ in range(3))
    control = new_control(store)
    control.begin(first.id)
    control.publish(first.id, "train", done(ask(control, first, "train"), score=7))

    control.begin(second.id)
    assert control.prepare(second.id, "train").order is None
    cached = store.tasks.get(second.id, "train")
    assert (cached.state, cached.cached, dict(cached.outputs.parameters)) == (
        State.SUCCEEDED,
        True,
        {"score": 7},
    )
    assert store.attempts.list(second.id) == []

    forgetful = new_control(store, readable=False)
    forgetful.begin(third.id)
    assert forgetful.prepare(third.id, "train").order is not None


def test_a_run_does_not_fill_its_own_cache(store: Store) -> None:
    """Else whether a task runs would hang on which of two equal ones ends first."""
    twins = [Shell(name, command=["true"], cached=True) for name in ("one", "two")]
    run = run_of(store, *twins, name="twins")
    control = new_control(store)
    control.begin(run.id)
    control.publish(run.id, "one", done(ask(control, run, "one")))

    assert control.prepare(run.id, "two").order is not None


def test_a_run_started_without_the_cache_runs_everything(store: Store) -> None:
    part = Shell("train", cached=True)
    first = run_of(store, part, name="uncached")
    second = run_of(store, part, name="uncached", options=RunOptions(cache=False))
    control = new_control(store)
    for run in (first, second):
        control.begin(run.id)
        control.publish(run.id, "train", done(ask(control, run, "train")))

    assert len(store.attempts.list(second.id)) == 1


def test_a_task_costs_as_many_statements_in_a_large_run_as_in_a_small_one(store: Store) -> None:
    """Prepare and publish, of independent tasks that a last one waits for."""

    def costs(size: int) -> list[int]:
        names = [f"task-{n}" for n in range(size)]
        run = run_of(store, *map(Shell, names), Shell("last", after=names))
        control = new_control(store, exclusive=True)
        control.begin(run.id)
        found: list[int] = []
        for name in names:
            sent = statements(
                store, lambda name=name: control.publish(run.id, name, done(ask(control, run, name)))
            )
            found.append(len(sent))
        return found

    assert set(costs(5)) == set(costs(50))

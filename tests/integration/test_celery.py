"""Runs on real workers: Redis, PostgreSQL, S3 and pods of a real cluster."""

from __future__ import annotations

import json
import os
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path
from uuid import uuid4

import pytest

from penstock.execution.options import RunOptions
from penstock.execution.result import OutputArtifact
from penstock.execution.settings import load_settings
from penstock.execution.workspace import Workspace
from penstock.ir import load
from penstock.model import Json, JsonObject, State
from tests.cluster import Cluster
from tests.documents import INT, TEXT, Group, Shell, given, made_by, output, pipeline, when
from tests.installation import Installation
from tests.integration.celery_runs import OTHER, PYTHON, Runs

pytestmark = [pytest.mark.service(name) for name in ("postgres", "redis", "s3", "kubernetes")]


@pytest.fixture
def runs(installation: Installation, tmp_path: Path) -> Iterator[Runs]:
    with Workspace(installation.settings) as workspace:
        yield Runs(installation, workspace, tmp_path)


def napping(seconds: float, name: str = "napping") -> JsonObject:
    return pipeline(name, Shell("nap", f"sleep {seconds:g}; echo slept", image=PYTHON))


def failing() -> JsonObject:
    return pipeline(
        "failing",
        Shell("good", "echo once", image=PYTHON),
        Shell("picky", '[ "$x" = 0 ] || exit 3', {"x": (INT, given("x"))}, after=["good"], image=PYTHON),
        inputs={"x": INT},
    )


def test_a_run_with_files_a_loop_and_a_condition_comes_from_the_cache_the_second_time(runs: Runs) -> None:
    make = Shell(
        "make",
        'printf %s $((x * 2)) >"$n"; mkdir -p "$kept/a"; printf %s "$x" >"$kept/a/b"',
        {"x": (INT, given("x"))},
        outputs={"n": INT},
        made={"kept": "system.Dataset"},
        image=PYTHON,
        cached=True,
    )
    read = Shell(
        "read",
        'cat "$kept/a/b" >"$copy"',
        artifacts={"kept": made_by("make", "kept")},
        made={"copy": "system.Artifact"},
        image=OTHER,
        cached=True,
    )
    say = Shell(
        "say",
        'printf "%s!" "$word" >"$said"',
        {"word": (TEXT, given("item"))},
        outputs={"said": TEXT},
        image=PYTHON,
        cached=True,
    )
    loop = Group("loop", [say], items=["a", "b", "c"], outputs={"said": (TEXT, "say", "said")})
    words = {"n": (INT, output("make", "n"))}
    then = Group(
        "then",
        [Shell("yes", image=PYTHON, cached=True)],
        words,
        more=when("int(inputs.parameter_values['n']) > 10"),
    )
    never = Group(
        "never", [Shell("no", image=PYTHON)], words, more=when("int(inputs.parameter_values['n']) > 100")
    )
    document = pipeline(f"whole-{uuid4().hex[:6]}", make, read, loop, then, never, inputs={"x": INT})

    first = runs.followed(document, "-p", "x=21")
    second = runs.followed(document, "-p", "x=21")

    for found in (first, second):
        tasks = found["tasks"]
        assert found["state"] == "SUCCEEDED", found
        assert tasks["make"]["outputs"]["n"] == 42
        assert tasks["loop"]["outputs"]["said"] == ["a!", "b!", "c!"]
        assert tasks["then/yes"]["state"] == "SUCCEEDED" and tasks["never"]["state"] == "SKIPPED"
    work = ("make", "read", "then/yes", *(f"loop[{number}]/say" for number in range(3)))
    assert not any(first["tasks"][path]["cached"] for path in work)
    assert all(second["tasks"][path]["cached"] for path in work)
    copy = runs.workspace.result(second["id"]).tasks["read"].outputs["copy"]
    assert isinstance(copy, OutputArtifact) and copy.path.read_text() == "21"
    assert not runs.pods(first["id"])


def test_detach_prints_the_id_of_a_run_that_goes_on(runs: Runs) -> None:
    found = runs.detached(napping(1))

    assert not runs.record(found).state.ended
    assert runs.end(found) is State.SUCCEEDED
    assert runs.penstock("runs", "logs", found, "nap").out == "slept\n"
    assert runs.penstock("runs", "logs", found).out == "[nap] slept\n"


def test_what_a_pod_writes_is_seen_while_it_runs(runs: Runs) -> None:
    found = runs.detached(pipeline("telling", Shell("tell", "echo begun; sleep 300", image=PYTHON)))
    runs.wait_for_pod(found)

    runs.wait_until(lambda: runs.penstock("runs", "logs", found, "tell").out == "begun\n", "the first line")

    runs.penstock("runs", "cancel", found)
    assert runs.end(found) is State.CANCELED


def test_cancel_ends_the_pods_of_a_run(runs: Runs) -> None:
    names = Group("loop", [Shell("nap", "sleep 300", image=PYTHON)], items=["a", "b"])
    found = runs.detached(pipeline("canceled", names, Shell("after", image=PYTHON, after=["loop"])))
    runs.wait_for_pod(found)

    answer = runs.penstock("runs", "cancel", found)

    assert answer.out == f"run {found} is being canceled\n"
    assert runs.end(found) is State.CANCELED
    states = {path: one.state for path, one in runs.workspace.result(found).tasks.items()}
    assert states["loop[0]/nap"] is State.CANCELED and states["loop[1]/nap"] is State.CANCELED
    runs.wait_until(lambda: not runs.pods(found), "the pods to go")


def test_a_run_on_another_queue_waits_for_a_worker_of_it(runs: Runs) -> None:
    queue = f"gpu-{uuid4().hex[:6]}"
    waiting = runs.detached(napping(0), "--queue", queue)
    assert runs.run(napping(0))["state"] == "SUCCEEDED"
    assert runs.record(waiting).state is State.PENDING
    runs.wait_until(
        lambda: f"waits in queue '{queue}'" in runs.penstock("runs", "why", waiting, "nap").out, "its why"
    )

    with runs.installation.worker("--queue", queue, "--no-watcher"):
        assert runs.end(waiting) is State.SUCCEEDED


def test_a_higher_priority_comes_first_in_its_queue(runs: Runs) -> None:
    queue = f"ordered-{uuid4().hex[:6]}"
    found = {
        priority: runs.detached(napping(0), "--queue", queue, "--priority", str(priority))
        for priority in (0, 9, 5)
    }

    with runs.installation.worker("--queue", queue, "--no-watcher", "--concurrency", "1"):
        assert {runs.end(one) for one in found.values()} == {State.SUCCEEDED}

    began = {priority: runs.record(one).started_at or 0.0 for priority, one in found.items()}
    assert sorted(began, key=lambda priority: began[priority]) == [9, 5, 0]


def test_retry_runs_again_what_failed(runs: Runs) -> None:
    first = runs.run(failing(), "-p", "x=1")
    assert first["state"] == "FAILED"
    assert first["tasks"]["picky"]["error"].startswith("task 'picky' ended with exit code 3")

    again = runs.penstock("runs", "retry", first["id"], "--json", "-p", "x=0").run

    assert again["state"] == "SUCCEEDED"
    attempts = runs.workspace.store.attempts.list(first["id"])
    assert [one.path for one in attempts] == ["good", "picky", "picky"]


def test_several_workers_share_a_run_and_start_nothing_twice(runs: Runs) -> None:
    queue = f"shared-{uuid4().hex[:6]}"
    chain = [Shell("t0", image=PYTHON)]
    chain += [Shell(f"t{number}", image=PYTHON, after=[f"t{number - 1}"]) for number in range(1, 5)]
    wide = Group("loop", [Shell("say", image=PYTHON)], items=[str(number) for number in range(6)])
    with (
        runs.installation.worker("--queue", queue, "--no-watcher") as one,
        runs.installation.worker("--queue", queue, "--no-watcher") as other,
    ):
        found = runs.detached(pipeline("shared", *chain, wide), "--queue", queue)
        assert runs.end(found) is State.SUCCEEDED
        told = [worker.log.read_text().count(" received") for worker in (one, other)]

    assert all(told), told
    attempts = runs.workspace.store.attempts.list(found)
    assert len(attempts) == len({attempt.path for attempt in attempts}) == 11


def test_a_pool_of_processes_drives_runs_too(runs: Runs) -> None:
    queue = f"forked-{uuid4().hex[:6]}"
    with runs.installation.worker(
        "--queue", queue, "--no-watcher", "--pool", "prefork", "--concurrency", "2"
    ) as worker:
        found = [runs.detached(napping(1), "--queue", queue) for _ in range(3)]
        assert {runs.end(one) for one in found} == {State.SUCCEEDED}
        assert worker.stop() == 0


@pytest.mark.parametrize("pool", ["threads", "prefork"])
def test_a_worker_that_is_asked_to_end_finishes_its_steps(runs: Runs, pool: str) -> None:
    queue = f"ending-{uuid4().hex[:6]}"
    items: list[Json] = [str(number) for number in range(12)]
    document = pipeline("wide", Group("loop", [Shell("nap", "sleep 2", image=PYTHON)], items=items))
    with runs.installation.worker("--queue", queue, "--no-watcher", "--pool", pool) as worker:
        found = runs.detached(document, "--queue", queue)
        worker.wait_for(" received")
        assert worker.stop() == 0

    assert runs.workspace.store.leases.holder(found) is None
    assert "Traceback" not in worker.log.read_text()
    with runs.installation.worker("--queue", queue, "--no-watcher"):
        assert runs.end(found) is State.SUCCEEDED
    assert len(runs.workspace.store.attempts.list(found)) == 12


def test_a_named_launcher_has_a_namespace_of_its_own(installation: Installation, tmp_path: Path) -> None:
    far = Cluster(f"{installation.namespace}-far")
    far.make()
    table = f'[launchers.far]\nkind = "kubernetes"\nkubernetes_namespace = "{far.namespace}"\n'
    (tmp_path / "penstock.toml").write_text(table)
    # Of an installation of its own, whose watcher knows the name.
    own = {"PENSTOCK_INSTALLATION": far.namespace, "PENSTOCK_KUBERNETES_PODS": "keep"}
    there = replace(installation, folder=tmp_path, variables={**installation.variables, **own})
    settings = load_settings(environ={**os.environ, **there.variables}, folder=tmp_path)
    options = RunOptions(engine="celery", launcher="far", queue="far", cache=False)
    try:
        with there.worker("--queue", "far"), Workspace(settings) as workspace:
            run = workspace.submit(load(json.dumps(napping(0))), {}, options=options)
            assert workspace.drive(run.id) is State.SUCCEEDED
        assert [pod.metadata.labels["penstock.dev/run"] for pod in far.pods()] == [run.id]
    finally:
        far.remove()

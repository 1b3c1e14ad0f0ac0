"""Tasks as pods of a real cluster, with their artifacts in a real S3 that the pods reach."""

from __future__ import annotations

import threading
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any, cast

import pytest
import yaml

from penstock.execution.options import RunOptions
from penstock.execution.result import OutputArtifact, Run
from penstock.execution.workspace import Workspace
from penstock.ir import load
from penstock.model import Reason, State
from penstock_workers.kubernetes import names
from penstock_workers.kubernetes.api import KubernetesApi
from penstock_workers.kubernetes.connection import connect
from tests.documents import INT, TEXT, Group, Shell, given, pipeline
from tests.integration.kubernetes_service import OTHER, PYTHON, kubernetes_workspace

pytestmark = [pytest.mark.service("kubernetes"), pytest.mark.service("s3")]


@pytest.fixture
def workspace(home: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Workspace]:
    with kubernetes_workspace(home, monkeypatch) as found:
        yield found


@pytest.fixture
def api(workspace: Workspace) -> KubernetesApi:
    return connect()


def run(workspace: Workspace, document: dict[str, Any], **arguments: Any) -> Run:
    text = yaml.safe_dump(document)
    record = workspace.submit(load(text), arguments, options=RunOptions(parallel=3))
    workspace.drive(record.id)
    return workspace.result(record.id)


def pods(api: KubernetesApi, workspace: Workspace) -> list[str]:
    found = api.list("pods", names.selector(workspace.settings.installation)).items
    alive = [one for one in found if "deletionTimestamp" not in cast("dict[str, Any]", one["metadata"])]
    return [str(cast("dict[str, Any]", one["metadata"])["name"]) for one in alive]


@pytest.mark.parametrize("image", [PYTHON, OTHER], ids=["in-place", "beside"])
def test_values_and_files_pass_from_pod_to_pod(workspace: Workspace, api: KubernetesApi, image: str) -> None:
    make = Shell(
        "make",
        'printf %s $((x * 2)) >"$n"; mkdir -p "$kept/a"; printf %s "$x" >"$kept/a/b"; echo made',
        {"x": (INT, given("x"))},
        outputs={"n": INT},
        made={"kept": "system.Dataset"},
        image=image,
    )
    say = Shell(
        "say",
        'printf %s "$word" >"$said"',
        {"word": (TEXT, given("item"))},
        outputs={"said": TEXT},
        image=image,
    )
    group = Group("loop", [say], items=["a", "b"], outputs={"said": (TEXT, "say", "said")})

    found = run(workspace, pipeline("passing", make, group, inputs={"x": INT}), x=21)

    assert found.state is State.SUCCEEDED, found.error
    assert found.tasks["make"].outputs["n"] == 42
    assert found.tasks["loop"].outputs["said"] == ["a", "b"]
    kept = found.tasks["make"].outputs["kept"]
    assert isinstance(kept, OutputArtifact)
    target = workspace.settings.home / "kept"
    workspace.artifact_store(kept.uri).get(kept.uri, target)
    assert (target / "a" / "b").read_text() == "21"
    assert not pods(api, workspace)
    attempt = workspace.store.attempts.list(found.id, "make")[-1]
    launcher = workspace.launcher(RunOptions())
    assert list(launcher.log(found.id, attempt.id, place=attempt.log)) == ["made"]


@pytest.mark.parametrize(
    ("task", "reason", "sentence"),
    [
        (Shell("t", "echo why; exit 3", image=PYTHON), Reason.EXIT_CODE, "exit code 3: why"),
        (
            Shell("t", "echo why; exit 4", outputs={"n": INT}, image=OTHER),
            Reason.EXIT_CODE,
            "exit code 4: why",
        ),
        (Shell("t", command=["/no/such"], image=PYTHON), Reason.EXIT_CODE, "cannot be started"),
        (Shell("t", "true", outputs={"n": INT}, image=PYTHON), Reason.OUTPUT, "did not write it"),
        (Shell("t", "true", image="no.such.registry/x:1"), Reason.IMAGE, "image 'no.such.registry/x:1'"),
        (Shell("t", "true", image="A B"), Reason.IMAGE, "cannot be pulled"),
    ],
)
def test_what_went_wrong_is_one_sentence(
    workspace: Workspace, api: KubernetesApi, task: Shell, reason: Reason, sentence: str
) -> None:
    found = run(workspace, pipeline("failing", task))

    assert found.state is State.FAILED
    assert sentence in found.tasks["t"].error
    assert found.tasks["t"].reason is reason
    assert not pods(api, workspace)


def test_a_pod_deleted_from_outside_is_launched_again_as_another_attempt(
    workspace: Workspace, api: KubernetesApi
) -> None:
    task = Shell("t", 'sleep 3; printf 1 >"$n"', outputs={"n": INT}, image=PYTHON)

    def delete_the_first() -> None:
        until = time.monotonic() + 60
        while time.monotonic() < until:
            for name in pods(api, workspace):
                api.delete("pods", name, grace=0)
                return
            time.sleep(0.1)

    thread = threading.Thread(target=delete_the_first)
    thread.start()
    found = run(workspace, pipeline("deleted", task))
    thread.join()

    assert found.state is State.SUCCEEDED
    attempts = workspace.store.attempts.list(found.id, "t")
    assert [one.state.value for one in attempts] == ["LOST", "SUCCEEDED"]


def test_canceling_a_run_ends_its_pods(workspace: Workspace, api: KubernetesApi) -> None:
    document = pipeline("canceled", Shell("t", "sleep 300", image=PYTHON))
    record = workspace.submit(load(yaml.safe_dump(document)), {})
    canceler = threading.Timer(4.0, lambda: workspace.store.runs.request_cancel(record.id))
    canceler.start()

    state = workspace.drive(record.id)

    assert state is State.CANCELED
    assert workspace.result(record.id).tasks["t"].state is State.CANCELED
    assert not pods(api, workspace)

"""What MLflow is to hold of runs and tasks."""

from __future__ import annotations

import pytest

from penstock.model import Artifact, ArtifactType, Json, State, TaskKind, TaskRun, Values
from penstock.store import RunRecord, StorageState
from penstock.tracking.entity import (
    PARAM_LIMIT,
    TAG_LIMIT,
    DatasetInput,
    Metric,
    Status,
    cut,
    is_tracked,
    run_entity,
    task_entity,
)


def run(**fields: object) -> RunRecord:
    found: dict[str, object] = {
        "id": "run-1",
        "namespace": "default",
        "experiment": "flowers",
        "pipeline": "iris",
        "version_id": "version-1",
        "digest": "d1",
        "name": "monday",
        "resource_name": "iris-1",
        "arguments": {"trees": 100, "kinds": ["a", "b"], "name": "x", "none": None},
        "pipeline_root": "file:///root",
        "options": {},
        "state": State.SUCCEEDED,
        "error": "",
        "outputs": Values({"accuracy": 0.5, "best": "tree"}),
        "storage_state": StorageState.AVAILABLE,
        "created_at": 10.0,
        "started_at": 11.0,
        "ended_at": 12.5,
        "cancel_requested_at": None,
        "owner": None,
        "lease_expires_at": None,
        "token": 0,
        "generation": 0,
        "revision": 0,
        **fields,
    }
    return RunRecord(**found)  # pyright: ignore[reportArgumentType]


def task(state: State = State.SUCCEEDED, **fields: object) -> TaskRun:
    found: dict[str, object] = {"attempts": 1, "started_at": 11.0, "ended_at": 12.0, **fields}
    return TaskRun("train", TaskKind.CONTAINER, state, **found)  # pyright: ignore[reportArgumentType]


def artifact(title: str = "system.Artifact", name: str = "a", **metadata: Json) -> Artifact:
    return Artifact(
        f"id-{name}", name, ArtifactType(title, "0.0.1"), f"s3://b/{name}", metadata, 3, "5ha" * 20
    )


def test_the_parent_has_the_arguments_the_outputs_and_the_way_back() -> None:
    found = run_entity(run(), None)

    assert (found.name, found.status, found.started_at, found.ended_at) == (
        "monday",
        Status.FINISHED,
        11000,
        12500,
    )
    assert found.params == {"trees": "100", "kinds": '["a", "b"]', "name": "x", "none": "null"}
    assert found.metrics == (Metric("accuracy", 0.5, 12500, 0),)
    assert found.tags == {
        "penstock.run_id": "run-1",
        "penstock.state": "SUCCEEDED",
        "penstock.pipeline": "iris",
        "penstock.pipeline_digest": "d1",
        "penstock.output.best": "tree",
        "kfp.pipeline_run_id": "run-1",
        "kfp.pipeline_version_id": "version-1",
        "mlflow.source.name": "iris",
        "mlflow.source.type": "JOB",
    }


def test_a_run_that_goes_on_has_neither_end_nor_metrics() -> None:
    found = run_entity(run(state=State.RUNNING, ended_at=None, started_at=None), None)

    assert (found.status, found.started_at, found.ended_at, found.metrics) == (
        Status.RUNNING,
        10000,
        None,
        (),
    )


def test_a_task_has_its_inputs_its_metrics_and_links_to_its_artifacts() -> None:
    inputs = Values(
        {"rate": 0.1}, {"data": (artifact("system.Dataset", "data"),), "more": (artifact(), artifact())}
    )
    outputs = Values(
        {"score": 2}, {"metrics": (artifact("system.Metrics", "m", accuracy=0.75, kind="x", ok=True),)}
    )
    found = task_entity(run(), task(inputs=inputs, outputs=outputs))

    assert (found.name, found.status, found.params) == ("train", Status.FINISHED, {"rate": "0.1"})
    assert found.metrics == (Metric("score", 2, 12000, 0), Metric("accuracy", 0.75, 12000, 0))
    assert found.datasets == (DatasetInput("data", ("5ha" * 20)[:36], "s3://b/data", "system.Dataset"),)
    assert (
        found.tags.items()
        >= {
            "penstock.task": "train",
            "penstock.attempt": "1",
            "penstock.cached": "false",
            "penstock.input.data": "s3://b/data",
            "penstock.input.more": '["s3://b/a", "s3://b/a"]',
            "penstock.output.metrics": "s3://b/m",
        }.items()
    )
    assert "penstock.error" not in found.tags and "penstock.output.score" not in found.tags


def test_metrics_of_several_artifacts_stand_below_the_names_of_the_outputs() -> None:
    sheets = {name: (artifact("system.Metrics", name, accuracy=1.0),) for name in ("train", "test")}
    found = task_entity(run(), task(outputs=Values({}, sheets)))

    assert [metric.key for metric in found.metrics] == ["train/accuracy", "test/accuracy"]


@pytest.mark.parametrize(
    ("record", "status", "lasting"),
    [
        (task(State.PENDING), Status.SCHEDULED, False),
        (task(State.RUNNING), Status.RUNNING, False),
        (task(State.SUCCEEDED), Status.FINISHED, True),
        (task(State.FAILED), Status.FAILED, True),
        (task(State.FAILED, attempts=0), Status.FAILED, True),
        (task(State.CANCELED), Status.KILLED, True),
        (task(State.CANCELED, attempts=0), Status.KILLED, False),
        (task(State.SKIPPED, attempts=0), Status.KILLED, False),
    ],
)
def test_states_are_mapped_and_what_never_ran_gets_no_mlflow_run(
    record: TaskRun, status: Status, lasting: bool
) -> None:
    found = task_entity(run(), record)
    assert (found.status, found.lasting, found.again) == (status, lasting, False)


def test_a_later_attempt_clears_what_the_former_has_left() -> None:
    first = task_entity(run(), task(State.FAILED, error="boom"))
    second = task_entity(run(), task(attempts=2))
    third = task_entity(run(), task(generation=1, outputs=Values({"score": 1})))

    assert first.tags["penstock.error"] == "boom"
    assert (second.again, second.tags["penstock.error"], second.tags["penstock.attempt"]) == (True, "", "2")
    assert third.metrics == (Metric("score", 1, 12000, 1),), (
        "the generation is the step: the latest is the value"
    )


def test_what_is_too_long_is_cut_and_says_so() -> None:
    found = task_entity(run(), task(State.FAILED, error="e" * 9000, inputs=Values({"text": "ü" * 7000})))

    assert len(found.params["text"]) == PARAM_LIMIT and len(found.tags["penstock.error"]) == TAG_LIMIT
    assert found.params["text"].endswith("ü … [cut by penstock, 7000 characters in all]")
    assert cut("x" * 10, 10) == "x" * 10


def test_names_become_such_as_mlflow_takes() -> None:
    found = task_entity(run(), task(inputs=Values({"a@b": 1, "n" * 300: 2, "x.y-z/ :_": 3})))
    assert list(found.params) == ["a_b", "n" * 250, "x.y-z/ :_"]


def test_a_model_is_registered_only_where_its_metadata_ask_for_it() -> None:
    asked = artifact("system.Model", "asked", registered_model_name="iris")
    outputs = {"asked": (asked,), "quiet": (artifact("system.Model", "quiet"),)}
    inputs = Values({}, {"data": (artifact("system.Dataset", "data"),)})
    (model,) = task_entity(run(), task(inputs=inputs, outputs=Values({}, outputs))).models

    assert (model.name, model.artifact_id, model.source) == ("iris", "id-asked", "s3://b/asked")
    assert (
        model.tags.items()
        >= {
            "penstock.artifact_id": "id-asked",
            "penstock.uri": "s3://b/asked",
            "penstock.output": "asked",
            "penstock.input.data": "id-data",
        }.items()
    )
    failed = task_entity(run(), task(State.FAILED, outputs=Values({}, outputs)))
    assert failed.models == ()


def test_a_local_model_is_registered_by_its_id_since_mlflow_takes_no_paths() -> None:
    place = Artifact(
        "id-1", "m", ArtifactType("system.Model"), "file:///m", {"registered_model_name": "iris"}
    )
    (model,) = task_entity(run(), task(outputs=Values({}, {"m": (place,)}))).models

    assert (model.source, model.tags["penstock.uri"]) == ("penstock:/artifacts/id-1", "file:///m")


def test_leaves_are_tracked_and_what_holds_them_is_not() -> None:
    tracked = {kind for kind in TaskKind if is_tracked(TaskRun("x", kind, State.RUNNING))}
    assert tracked == {TaskKind.CONTAINER, TaskKind.IMPORTER}

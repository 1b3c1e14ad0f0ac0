"""A run as its author reads it."""

from __future__ import annotations

from pathlib import Path

import pytest

from penstock.artifacts import uri_of
from penstock.execution.result import OutputArtifact, Run, outputs_to_json, read_outputs, read_task
from penstock.model import Artifact, ArtifactType, Reason, State, TaskKind, TaskRun, Values

MODEL = ArtifactType("system.Model", "0.0.1")


def artifact(identity: str = "a1", uri: str = "file:///m", **fields: object) -> Artifact:
    return Artifact(identity, "model", MODEL, uri, **fields)  # pyright: ignore[reportArgumentType]


def test_parameters_stand_by_value_and_artifacts_with_their_path(tmp_path: Path) -> None:
    values = Values({"n": 3, "many": [1, 2]}, {"model": (artifact(uri=uri_of(tmp_path / "a b")),)})

    found = read_outputs(values)

    assert (found["n"], found["many"]) == (3, [1, 2])
    model = found["model"]
    assert isinstance(model, OutputArtifact)
    assert (model.path, model.type, model.name) == (tmp_path / "a b", "system.Model", "model")


@pytest.mark.parametrize("count", [0, 1, 2])
def test_a_list_of_artifacts_stays_one_however_many_they_are(count: int) -> None:
    many = tuple(artifact(f"a{n}") for n in range(count))

    found = read_outputs(Values({}, {"models": many}), frozenset({"models"}))["models"]

    assert isinstance(found, list) and len(found) == count


def test_an_artifact_elsewhere_has_no_path() -> None:
    model = read_outputs(Values({}, {"model": (artifact(uri="s3://bucket/m"),)}))["model"]
    assert isinstance(model, OutputArtifact)

    with pytest.raises(ValueError, match="s3://bucket/m is not on this machine"):
        _ = model.path


def test_json_of_outputs() -> None:
    plain = artifact("a1")
    rich = artifact("a2", metadata={"accuracy": 0.9}, size=8)

    found = outputs_to_json(read_outputs(Values({"n": None}, {"one": (plain,), "two": (plain, rich)})))

    basic = {"name": "model", "type": "system.Model", "uri": "file:///m"}
    assert found == {
        "n": None,
        "one": {"id": "a1", **basic},
        "two": [{"id": "a1", **basic}, {"id": "a2", **basic, "metadata": {"accuracy": 0.9}, "size": 8}],
    }


def test_json_of_a_run_is_what_the_command_line_promises() -> None:
    failed = TaskRun("loop[0]/train", TaskKind.CONTAINER, State.FAILED, reason=Reason.EXIT_CODE, error="boom")
    cached = TaskRun("data", TaskKind.CONTAINER, State.SUCCEEDED, cached=True, outputs=Values({"rows": 3}))
    run = Run(
        "r1", "a run", State.FAILED, "loop[0]/train: boom", {"rows": 3},
        {one.path: read_task(one) for one in (cached, failed)},
    )  # fmt: skip

    assert run.to_json() == {
        "id": "r1",
        "state": "FAILED",
        "error": "loop[0]/train: boom",
        "outputs": {"rows": 3},
        "tasks": {
            "data": {"state": "SUCCEEDED", "cached": True, "outputs": {"rows": 3}, "error": None},
            "loop[0]/train": {"state": "FAILED", "cached": False, "outputs": {}, "error": "boom"},
        },
    }
    assert [task.path for task in run] == ["data", "loop[0]/train"]
    assert run.tasks["loop[0]/train"].reason is Reason.EXIT_CODE

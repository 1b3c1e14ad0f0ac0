"""Retrying with other arguments: they reach what runs again, however deep it stands, and nothing else."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import cast

import pytest

from penstock.errors import InvalidArgumentError
from penstock.execution.options import RunOptions
from penstock.execution.reopening import reopen_run
from penstock.execution.result import Run
from penstock.execution.settings import load_settings
from penstock.execution.workspace import Workspace
from penstock.ir import load
from penstock.model import Json, JsonObject, State
from tests.documents import INT, LIST, TEXT, Group, Shell, given, output, pipeline, when, write

Again = Callable[[JsonObject, dict[str, Json], str, dict[str, Json]], Run]


@pytest.fixture
def again(tmp_path: Path) -> Again:
    """Runs a pipeline, then retries it from a task with other arguments."""

    def run(document: JsonObject, first: dict[str, Json], path: str, second: dict[str, Json]) -> Run:
        settings = load_settings({"home": str(tmp_path / "home")}, {}, tmp_path)
        with Workspace(settings) as workspace:
            loaded = load(write(document, tmp_path / "pipeline.yaml"))
            record = workspace.submit(loaded, first, options=RunOptions())
            workspace.drive(record.id)
            reopen_run(workspace.store, record.id, path, second)
            workspace.drive(record.id)
            return workspace.result(record.id)

    return run


def add(name: str, **inputs: Json) -> Shell:
    total = " + ".join(f"${{{one}}}" for one in inputs)
    script = f'printf %s "$(( {total} ))" > "$sum"'
    return Shell(name, script, {one: (INT, source) for one, source in inputs.items()}, outputs={"sum": INT})


def nested(*inner: Shell, **more: Json) -> JsonObject:
    group = Group(
        "inner",
        inner,
        {"a": (INT, given("a")), "b": (INT, given("b"))},
        {"sum": (INT, inner[-1].name, "sum")},
        more=more,
    )
    return pipeline("nested", group, inputs={"a": INT, "b": INT}, outputs={"sum": (INT, "inner", "sum")})


def test_an_argument_reaches_a_task_inside_a_nested_pipeline(again: Again) -> None:
    document = nested(add("left", x=given("a")), add("right", x=given("b"), y=output("left", "sum")))
    run = again(document, {"a": 1, "b": 2}, "inner/right", {"b": 40})
    assert run.tasks["inner/right"].outputs == {"sum": 41}
    assert run.outputs == {"sum": 41}


def test_what_does_not_run_again_keeps_what_it_was_given(again: Again) -> None:
    document = nested(add("left", x=given("a")), add("right", x=given("b"), y=output("left", "sum")))
    run = again(document, {"a": 1, "b": 2}, "inner/right", {"a": 100, "b": 40})
    assert run.tasks["inner/left"].outputs == {"sum": 1}
    assert run.outputs == {"sum": 41}


def test_a_loop_whose_items_change_starts_from_nothing(again: Again) -> None:
    count = Shell(
        "count", 'printf %s "${item}" > "$seen"', {"item": (TEXT, given("item"))}, outputs={"seen": TEXT}
    )
    iterator: JsonObject = {"parameterIterator": {"itemInput": "item", "items": {"inputParameter": "items"}}}
    loop = Group(
        "loop",
        [count],
        {"items": (LIST, given("items"))},
        {"seen": (TEXT, "count", "seen")},
        [],
        more=iterator,
    )
    document = pipeline("looping", loop, inputs={"items": LIST})
    run = again(document, {"items": ["a", "b"]}, "loop[0]/count", {"items": ["x", "y", "z"]})
    assert run.tasks["loop"].outputs == {"seen": ["x", "y", "z"]}


def test_a_condition_around_what_runs_again_is_judged_anew(again: Again) -> None:
    document = nested(add("only", x=given("a")), **when("inputs.parameter_values['b'] == 2"))
    run = again(document, {"a": 1, "b": 2}, "inner/only", {"b": 3})
    assert run.tasks["inner"].state is State.SKIPPED
    assert "inner/only" not in run.tasks


def test_an_argument_that_does_not_fit_changes_nothing(again: Again) -> None:
    document = nested(add("only", x=given("a")))
    with pytest.raises(InvalidArgumentError, match="must be an integer"):
        again(document, {"a": 1, "b": 2}, "inner/only", {"b": "many"})


def test_an_input_artifact_survives_new_arguments(again: Again, tmp_path: Path) -> None:
    (tmp_path / "data").write_text("content")
    show = Shell(
        "show",
        'printf %s "$(cat "$data") $x" > "$said"',
        {"x": (TEXT, given("x"))},
        {"data": {"componentInputArtifact": "data"}},
        {"said": TEXT},
    )
    document = pipeline("reading", show, inputs={"x": TEXT}, outputs={"said": (TEXT, "show", "said")})
    root = cast("dict[str, dict[str, Json]]", document["root"])
    kind: JsonObject = {"schemaTitle": "system.Artifact", "schemaVersion": "0.0.1"}
    root["inputDefinitions"]["artifacts"] = {"data": {"artifactType": kind}}
    run = again(document, {"x": "one", "data": str(tmp_path / "data")}, "show", {"x": "two"})
    assert run.outputs == {"said": "content two"}

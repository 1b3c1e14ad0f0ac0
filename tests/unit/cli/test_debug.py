"""`penstock debug RUN TASK`: a recorded task once more, outside the record."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from tests.documents import TEXT, Group, Shell, constant, made_by, output, pipeline, when, write
from tests.unit.cli.conftest import Penstock


def folder_of(lines: list[str]) -> Path:
    return Path(lines[-1].removeprefix("its directory is "))


def test_a_task_runs_again_with_its_recorded_inputs_and_its_own_output_places(
    penstock: Penstock, adding: Path, home: Path
) -> None:
    penstock("run", adding, "-p", "x=3")

    answer = penstock("debug", "latest", "add")

    assert answer.code == 0
    assert answer.lines[:2] == ["adding", "task add SUCCEEDED (exit code 0)"]
    folder = folder_of(answer.lines)
    assert folder.is_relative_to(home / "attempts" / "debug")
    assert json.loads((folder / "manifest.json").read_text())["parameters"] == {"total": 5}
    (model,) = (folder / "artifacts").rglob("model")
    assert model.read_text() == "a model\n"
    assert (folder / "work").is_dir()


def test_inputs_are_those_of_the_run_whatever_became_of_them(penstock: Penstock, adding: Path) -> None:
    penstock("run", adding, "-p", "x=3")
    penstock("run", adding, "-p", "x=4")
    first = penstock("runs", "list", "--json").objects[1]["id"]

    assert penstock("debug", first, "use").lines[:2] == ["a model", "total 5"]


def test_nothing_of_it_is_recorded(penstock: Penstock, adding: Path) -> None:
    penstock("run", adding, "-p", "x=3")
    before = [penstock(*words, "--json").out for words in (["runs", "list"], ["artifacts", "list"])]
    shown = penstock("runs", "get", "latest").out

    penstock("debug", "latest", "add")

    assert [penstock(*words, "--json").out for words in (["runs", "list"], ["artifacts", "list"])] == before
    assert penstock("runs", "get", "latest").out == shown
    assert "cached" in penstock("run", adding, "-p", "x=3").out


def test_a_task_that_fails_again_says_how_and_leaves_with_1(penstock: Penstock, failing: Path) -> None:
    penstock("run", failing, "-p", "fails=yes")

    answer = penstock("debug", "latest", "broken")

    assert answer.code == 1
    assert answer.lines[:3] == [
        "it broke",
        "task broken FAILED (exit code 1)",
        "task 'broken' ended with exit code 1: it broke",
    ]
    assert (folder_of(answer.lines) / "log").read_text() == "it broke\n"


def test_a_task_that_came_from_the_cache_runs_for_once(penstock: Penstock, adding: Path) -> None:
    penstock("run", adding, "-p", "x=3")
    penstock("run", adding, "-p", "x=3")

    assert penstock("debug", "latest", "add").lines[0] == "adding"


def test_a_task_in_a_loop_is_named_by_its_iteration(penstock: Penstock, everything: Path) -> None:
    penstock("run", everything)

    assert penstock("debug", "latest", "loop[1]/say").code == 0
    assert "name one of the tasks in it" in penstock("debug", "latest", "loop").complaint


@pytest.mark.parametrize(
    ("task", "words"),
    [
        ("nope", "has no task 'nope'"),
        ("after", "task 'after' never started, so there is nothing to run again"),
        ("never/inside", "has no record of a task 'never/inside'"),
    ],
)
def test_what_cannot_run_again_is_refused(penstock: Penstock, tmp_path: Path, task: str, words: str) -> None:
    never = Group("never", [Shell("inside")], {"x": (TEXT, constant("a"))})
    document = pipeline(
        "odd",
        Shell("broken", "exit 1"),
        Shell("after", after=["broken"]),
        Group(never.name, never.tasks, never.inputs, more=when("inputs.parameter_values['x'] == 'b'")),
    )
    penstock("run", write(document, tmp_path / "odd.yaml"))

    assert words in penstock("debug", "latest", task).complaint


def test_an_input_artifact_that_is_gone_is_told(penstock: Penstock, tmp_path: Path) -> None:
    made = Shell(
        "make",
        'echo data >"$data"; printf %s "$data" >"$place"',
        outputs={"place": TEXT},
        made={"data": "system.Dataset"},
    )
    used = Shell(
        "use",
        'cat "$data"',
        {"place": (TEXT, output("make", "place"))},
        {"data": made_by("make", "data")},
        after=["make"],
    )
    penstock("run", write(pipeline("gone", made, used), tmp_path / "gone.yaml"))
    Path(penstock("artifacts", "get", "latest:make.data", "--path").lines[0]).unlink()

    answer = penstock("debug", "latest", "use")

    assert answer.code == 1
    assert "input artifact 'data' is gone" in answer.out

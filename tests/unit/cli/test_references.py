"""How people name runs, tasks and artifacts, and what `why` tells of them."""

from __future__ import annotations

from pathlib import Path
from typing import Protocol

import pytest

from penstock.cli import run_cli
from tests.documents import INT, Group, Shell, given, made_by, pipeline, when, write

MAKE = Shell("make", 'printf x > "$model"', made={"model": "system.Model"})
USE = Shell("use", 'test -f "$model"', artifacts={"model": made_by("make", "model")}, after=["make"])
FAIL = Shell("fail", "exit 3")
AFTER = Shell("after", after=["fail"])
LAST = Shell("last", after=["after"])
INNER = Group(
    "inner",
    [Shell("deep", inputs={"n": (INT, given("n"))})],
    {"n": (INT, given("n"))},
    more=when("inputs.parameter_values['n'] > 5"),
)


@pytest.fixture
def recorded(home: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    document = pipeline("every", MAKE, USE, FAIL, AFTER, LAST, INNER, inputs={"n": INT})
    assert run_cli(["run", str(write(document, tmp_path / "p.yaml")), "--name", "mine", "-p", "n=1"]) == 1
    capsys.readouterr()


class Say(Protocol):
    def __call__(self, *words: str, code: int = 0) -> str: ...


@pytest.fixture
def said(recorded: None, capsys: pytest.CaptureFixture[str]) -> Say:
    def say(*words: str, code: int = 0) -> str:
        assert run_cli(words) == code
        printed = capsys.readouterr()
        return (printed.out + printed.err).strip()

    return say


def test_a_run_is_named_by_name_by_latest_and_by_the_end_of_its_id(said: Say) -> None:
    listed = said("runs", "list").splitlines()[1].split()
    assert listed[1] == "mine"
    for name in ("mine", "latest", listed[0]):
        assert said("runs", "get", name).splitlines()[0].startswith("mine  pipeline every")


def test_an_artifact_is_named_by_run_task_and_output_and_by_the_end_of_its_id(said: Say) -> None:
    path = said("artifacts", "get", "mine:make.model", "--path")
    assert Path(path).read_text() == "x"
    listed = said("artifacts", "list").splitlines()[1].split()
    assert said("artifacts", "get", listed[0], "--path") == path
    lines = said("artifacts", "lineage", "latest:make.model").splitlines()
    assert lines[0] == f"model  {listed[0]}  system.Model"
    assert lines[lines.index("went into") + 1].startswith(f"└─ use of run mine ({listed[-2]}), ")


def test_an_output_that_is_not_there_is_answered_with_those_that_are(said: Say) -> None:
    assert "has no artifact 'data'; it has model" in said("artifacts", "get", "mine:make.data", code=2)


def test_a_task_is_named_by_the_end_of_its_path(said: Say) -> None:
    assert said("runs", "why", "mine", "deep").startswith("task 'inner/deep' never came up: ")


def test_an_unknown_task_is_answered_with_those_that_are(said: Say) -> None:
    assert "has no task 'nope'; its tasks are " in said("runs", "why", "mine", "nope", code=2)


def test_why_goes_back_to_the_task_that_failed(said: Say) -> None:
    told = said("runs", "why", "mine", "last")
    assert told.startswith("task 'last' was skipped because 'fail' ended FAILED (by way of 'after'): ")
    assert "exit code 3" in told


def test_why_gives_the_condition_of_a_skipped_task_with_its_values(said: Say) -> None:
    assert said("runs", "why", "mine", "inner") == "task 'inner' was skipped: n > 5 was false with n = 1"


def test_a_report_names_a_failure_once(said: Say) -> None:
    assert said("runs", "get", "mine").count("exit code 3") == 1

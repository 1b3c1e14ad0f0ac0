"""The Python API, as `import penstock` gives it."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
import threading
import time
from pathlib import Path

import pytest

import penstock
from tests.documents import INT, TEXT, Group, Shell, given, pipeline, write


@pytest.fixture
def adding(home: Path, tmp_path: Path) -> Path:
    """Doubles `x`, and keeps a file; a loop says two words."""
    double = Shell(
        "double",
        'printf %s $((x * 2)) >"$twice"; printf %s "$x" >"$kept"',
        {"x": (INT, given("x"))},
        outputs={"twice": INT},
        made={"kept": "system.Dataset"},
        cached=True,
    )
    say = Shell("say", 'printf %s "$word" >"$said"', {"word": (TEXT, given("item"))}, outputs={"said": TEXT})
    document = pipeline(
        "adding",
        double,
        Group("loop", [say], items=["a", "b"], outputs={"said": (TEXT, "say", "said")}),
        inputs={"x": INT},
        outputs={"twice": (INT, "double", "twice"), "kept": ("system.Dataset", "double", "kept")},
    )
    return write(document, tmp_path / "adding.yaml")


@pytest.fixture
def failing(home: Path, tmp_path: Path) -> Path:
    return write(pipeline("failing", Shell("broken", "exit 3")), tmp_path / "failing.yaml")


def test_a_pipeline_is_loaded_and_run(adding: Path) -> None:
    loaded = penstock.load(adding)

    run = penstock.run(loaded, {"x": 21})

    assert loaded.name == "adding"
    assert run.state is penstock.State.SUCCEEDED and run.error == ""
    assert run.outputs["twice"] == 42
    kept = run.tasks["double"].outputs["kept"]
    assert isinstance(kept, penstock.OutputArtifact)
    assert kept.path.read_text() == "21" and kept.type == "system.Dataset"
    assert run.outputs["kept"] == kept
    assert run.tasks["loop"].outputs["said"] == ["a", "b"]
    assert run.tasks["loop[1]/say"].outputs["said"] == "b"
    assert {task.path for task in run} == set(run.tasks)


def test_a_path_may_stand_for_the_pipeline(adding: Path) -> None:
    assert penstock.run(str(adding), {"x": 1}).outputs["twice"] == 2
    assert penstock.run(adding, {"x": 2}).outputs["twice"] == 4


def test_a_run_that_fails_is_an_answer(failing: Path) -> None:
    run = penstock.run(failing)

    assert run.state is penstock.State.FAILED
    assert run.tasks["broken"].state is penstock.State.FAILED
    assert "exit code 3" in run.tasks["broken"].error and "broken" in run.error


def test_the_cache_answers_unless_it_is_switched_off(adding: Path) -> None:
    penstock.run(adding, {"x": 1})

    assert penstock.run(adding, {"x": 1}).tasks["double"].cached
    assert not penstock.run(adding, {"x": 1}, cache=False).tasks["double"].cached


def test_home_root_and_names_may_be_given(adding: Path, home: Path, tmp_path: Path) -> None:
    run = penstock.run(
        adding, {"x": 1}, home=tmp_path / "another", pipeline_root=str(tmp_path / "root"), name="mine"
    )

    kept = run.outputs["kept"]
    assert isinstance(kept, penstock.OutputArtifact) and kept.path.is_relative_to(tmp_path / "root")
    assert run.name == "mine"
    assert (tmp_path / "another" / "penstock.db").is_file() and not home.exists()


def test_every_change_is_told(adding: Path) -> None:
    seen: list[tuple[str, penstock.State]] = []

    penstock.run(adding, {"x": 1}, on_change=lambda task: seen.append((task.path, task.state)))

    assert ("double", penstock.State.RUNNING) in seen
    assert seen[-1] == ("", penstock.State.SUCCEEDED)


@pytest.mark.parametrize(
    ("arguments", "words"),
    [
        ({}, "needs the argument x"),
        ({"x": "abc"}, "argument 'x' must be an integer"),
        ({"x": 1, "y": 2}, "has no parameter 'y'"),
        ({"x": 1, 2: 3}, "the name of an argument must be a text, not 2"),
        ({"x": object()}, "argument 'x' is a object, which JSON does not know"),
        ({"x": float("nan")}, "argument 'x' cannot be passed on"),
    ],
)
def test_arguments_that_do_not_fit_raise_before_anything_is_recorded(
    adding: Path, home: Path, arguments: dict[str, penstock.State], words: str
) -> None:
    with pytest.raises(penstock.InvalidArgumentError) as caught:
        penstock.run(adding, arguments)  # pyright: ignore[reportArgumentType]

    assert words in str(caught.value)
    assert not home.exists()


def test_a_file_that_is_no_pipeline_raises(tmp_path: Path, home: Path) -> None:
    path = tmp_path / "x.yaml"
    path.write_text("- 1\n")

    with pytest.raises(penstock.InvalidPipelineError, match="is a list, not a pipeline"):
        penstock.load(path)
    with pytest.raises(penstock.InvalidPipelineError, match="there is no such file"):
        penstock.run("none.yaml")
    assert not home.exists()
    assert issubclass(penstock.InvalidPipelineError, penstock.InvalidInputError)
    assert issubclass(penstock.InvalidInputError, penstock.PenstockError)


def test_an_interrupt_cancels_and_the_answer_says_so(home: Path, tmp_path: Path) -> None:
    began = tmp_path / "began"
    document = write(pipeline("slow", Shell("slow", f"touch {began}; sleep 60")), tmp_path / "slow.yaml")

    def interrupt() -> None:
        while not began.exists():
            time.sleep(0.01)
        os.kill(os.getpid(), signal.SIGINT)

    threading.Thread(target=interrupt).start()
    run = penstock.run(document)

    assert run.state is penstock.State.CANCELED
    assert run.tasks["slow"].state is penstock.State.CANCELED


def test_a_run_whose_process_was_killed_is_resumed(home: Path, tmp_path: Path) -> None:
    began, gate, count = tmp_path / "began", tmp_path / "gate", tmp_path / "count"
    tasks = [
        Shell("first", f"echo first >>{count}"),
        Shell("wait", f"touch {began}; while [ ! -e {gate} ]; do sleep 0.02; done", after=["first"]),
        Shell("last", f"echo last >>{count}", after=["wait"]),
    ]
    document = write(pipeline("killed", *tasks), tmp_path / "killed.yaml")
    script = "import penstock, sys; penstock.run(sys.argv[1], name='killed')"
    process = subprocess.Popen([sys.executable, "-c", script, document])
    while not began.exists():
        assert process.poll() is None
        time.sleep(0.01)
    with pytest.raises(penstock.PenstockError, match=str(process.pid)):
        penstock.resume("killed")
    process.kill()
    process.wait()
    gate.touch()

    run = penstock.resume("killed")

    assert run.state is penstock.State.SUCCEEDED
    assert count.read_text().split() == ["first", "last"]
    with pytest.raises(penstock.InvalidInputError, match="has ended already: SUCCEEDED"):
        penstock.resume("killed")
    with pytest.raises(penstock.PenstockError, match="there is no run 'another'"):
        penstock.resume("another")


class TestImport:
    def test_importing_costs_nothing(self) -> None:
        script = "import sys; before = set(sys.modules); import penstock; print(*(set(sys.modules) - before))"
        done = subprocess.run([sys.executable, "-c", script], capture_output=True, text=True, check=True)

        loaded = set(done.stdout.split()) - {"penstock", "penstock._version"}
        assert not {name for name in loaded if name.startswith("penstock")}
        assert {"yaml", "sqlalchemy", "typer", "rich", "alembic"}.isdisjoint(loaded)

    def test_loading_a_pipeline_needs_no_database(self, adding: Path) -> None:
        script = "import sys, penstock; penstock.Pipeline; print(*sys.modules)"
        done = subprocess.run([sys.executable, "-c", script], capture_output=True, text=True, check=True)

        assert {"sqlalchemy", "typer"}.isdisjoint(done.stdout.split())

    def test_every_name_that_is_promised_is_there(self) -> None:
        for name in penstock.__all__:
            assert getattr(penstock, name) is not None
        with pytest.raises(AttributeError, match="module 'penstock' has no attribute 'nope'"):
            _ = penstock.nope  # pyright: ignore[reportAttributeAccessIssue]

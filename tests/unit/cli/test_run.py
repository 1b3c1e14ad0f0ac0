"""`penstock run`."""

from __future__ import annotations

from pathlib import Path

import pytest

from tests.documents import Shell, made_by, pipeline, write
from tests.unit.cli.conftest import Penstock


def test_a_run_that_succeeds_prints_its_outputs_and_leaves_with_0(penstock: Penstock, adding: Path) -> None:
    answer = penstock("run", adding, "-p", "x=3")

    assert answer.code == 0
    assert any(line.endswith("SUCCEEDED") and line.startswith("run ") for line in answer.lines)
    assert "  total = 5" in answer.lines
    model = next(line for line in answer.lines if line.startswith("  model = ")).partition(" = ")[2]
    assert Path(model).read_text() == "a model\n"


def test_each_change_of_a_task_is_one_plain_line(penstock: Penstock, everything: Path) -> None:
    lines = penstock("run", everything).lines

    words = [line.split(" ", 1)[1] for line in lines if line[2:3] == ":"]
    assert "loop[0]/say RUNNING" in words
    assert "never SKIPPED (condition was false)" in words
    assert any(line.startswith("flaky PENDING (retry 1)") for line in words)
    assert any(line.startswith("cleanup SUCCEEDED in ") for line in words)


def test_a_run_that_fails_leaves_with_1_and_says_why(penstock: Penstock, failing: Path) -> None:
    answer = penstock("run", failing, "-p", "fails=yes")

    assert answer.code == 1
    assert "  broken: task 'broken' ended with exit code 1: it broke" in answer.lines


def test_a_second_run_is_served_from_the_cache_and_says_so(penstock: Penstock, adding: Path) -> None:
    penstock("run", adding, "-p", "x=3")

    answer = penstock("run", adding, "-p", "x=3")

    assert any(line.endswith("2 of 2 tasks served from the cache") for line in answer.lines)
    assert any(line.endswith("add SUCCEEDED (cached)") for line in answer.lines)


def test_no_cache_runs_everything_again(penstock: Penstock, adding: Path) -> None:
    penstock("run", adding, "-p", "x=3")

    assert "cached" not in penstock("run", adding, "-p", "x=3", "--no-cache").out


@pytest.mark.parametrize("name", ["50%", "a%41", "#1", "what?", "two words", "é"])
def test_any_name_that_a_file_may_have_leads_to_its_artifact(
    penstock: Penstock, tmp_path: Path, name: str
) -> None:
    place, read = f"{{{{$.outputs.artifacts['{name}'].path}}}}", "{{$.inputs.artifacts['in'].path}}"
    write_it = Shell(
        f"make {name}", command=["sh", "-c", 'printf %s "$0" >"$1"', name, place], made={name: "system.Model"}
    )
    read_it = Shell(
        "read", command=["cat", read], artifacts={"in": made_by(f"make {name}", name)}, after=[f"make {name}"]
    )
    document = pipeline(f"p {name}", write_it, read_it)

    answer = penstock("run", write(document, tmp_path / "names.yaml"), "--json")

    assert answer.code == 0, answer
    artifact = answer.objects[-1]["run"]["tasks"][f"make {name}"]["outputs"][name]
    path = penstock("artifacts", "get", artifact["id"], "--path").lines[0]
    assert Path(path).read_text() == name
    assert path.split("/")[-5::2] == [f"p {name}", f"make {name}", name]
    assert penstock("runs", "logs", "latest", "read").out == f"{name}\n"


class TestJson:
    def test_every_line_is_an_object_and_the_last_is_the_run(self, penstock: Penstock, adding: Path) -> None:
        answer = penstock("run", adding, "-p", "x=3", "--json")

        assert answer.code == 0
        *changes, last = answer.objects
        assert all("task" in change or "run" in change for change in changes)
        assert [change["state"] for change in changes if change.get("task") == "add"] == [
            "RUNNING",
            "SUCCEEDED",
        ]
        run = last["run"]
        assert set(run) == {"id", "state", "error", "outputs", "tasks"}
        assert (run["state"], run["error"], run["outputs"]["total"]) == ("SUCCEEDED", None, 5)
        assert set(run["tasks"]) == {"add", "use"}
        add = run["tasks"]["add"]
        assert set(add) == {"state", "cached", "outputs", "error"}
        assert (add["state"], add["cached"], add["error"], add["outputs"]["total"]) == (
            "SUCCEEDED",
            False,
            None,
            5,
        )
        model = add["outputs"]["model"]
        assert (model["name"], model["type"], model["size"]) == ("model", "system.Model", 8)
        assert model["uri"].startswith("file:///")

    def test_tasks_inside_loops_stand_under_their_paths(self, penstock: Penstock, everything: Path) -> None:
        run = penstock("run", everything, "--json").objects[-1]["run"]

        assert set(run["tasks"]) == {
            "loop", "loop[0]", "loop[0]/say", "loop[1]", "loop[1]/say", "never", "flaky", "cleanup",
        }  # fmt: skip
        assert run["tasks"]["loop"]["outputs"] == {"said": ["a", "b"]}
        assert run["tasks"]["never"]["state"] == "SKIPPED"

    def test_a_failed_run_says_which_task_and_why(self, penstock: Penstock, failing: Path) -> None:
        answer = penstock("run", failing, "-p", "fails=yes", "--json")

        assert answer.code == 1
        run = answer.objects[-1]["run"]
        assert run["state"] == "FAILED"
        assert run["tasks"]["broken"]["error"] == "task 'broken' ended with exit code 1: it broke"
        assert "broken" in run["error"] and "it broke" in run["error"]
        assert {path: task["state"] for path, task in run["tasks"].items()} == {
            "fine": "SUCCEEDED",
            "broken": "FAILED",
            "after": "SKIPPED",
        }

    def test_logs_come_as_objects_too(self, penstock: Penstock, adding: Path) -> None:
        objects = penstock("run", adding, "-p", "x=3", "--json", "--logs").objects

        assert {"task": "use", "log": "total 5"} in objects


class TestArguments:
    def test_a_file_gives_arguments_and_p_overrides_them(
        self, penstock: Penstock, adding: Path, tmp_path: Path
    ) -> None:
        params = tmp_path / "params.yaml"
        params.write_text("x: 10\nnote: 2024-01-31\n")

        assert "  total = 12" in penstock("run", adding, "--params", params).lines
        assert "  total = 3" in penstock("run", adding, "--params", params, "-p", "x=1").lines

    def test_a_file_may_be_json(self, penstock: Penstock, adding: Path, tmp_path: Path) -> None:
        params = tmp_path / "params.json"
        params.write_text('{"x": 10}')

        assert "  total = 12" in penstock("run", adding, "--params", params).lines

    def test_a_value_may_hold_equals_signs_and_be_empty(self, penstock: Penstock, adding: Path) -> None:
        penstock("run", adding, "-p", "x=1", "-p", "note=a=b=")

        assert '"note": "a=b="' in penstock("runs", "get", "latest").out
        assert penstock("run", adding, "-p", "x=1", "-p", "note=").code == 0

    @pytest.mark.parametrize(
        ("given", "words"),
        [
            ([], "needs the argument x (NUMBER_INTEGER)"),
            (["-p", "x=abc"], "argument 'x' must be an integer, but is 'abc'"),
            (["-p", "x=1.5"], "argument 'x' must be an integer, but is '1.5'"),
            (["-p", "x=1", "-p", "nota=b"], "has no parameter 'nota' (did you mean 'note'?)"),
            (["-p", "x"], "-p takes KEY=VALUE, not 'x'"),
            (["-p", "=1"], "-p takes KEY=VALUE, not '=1'"),
            (["-p", "x=1", "--parallel", "-1"], "--parallel"),
            (["-p", "x=1", "--params", "none.yaml"], "none.yaml: there is no such file"),
            (["-p", "x=1", "--pipeline-root", "gopher://x"], "no artifact store for gopher://"),
        ],
    )
    def test_what_does_not_fit_is_told_before_anything_is_recorded(
        self, penstock: Penstock, adding: Path, home: Path, given: list[str], words: str
    ) -> None:
        assert words in penstock("run", adding, *given).complaint
        assert not home.exists()

    @pytest.mark.parametrize(
        ("text", "words"),
        [
            ("- 1\n", "must hold one mapping of names to values, not a list"),
            ("3\n", "not a number"),
            ("x: 1\n---\nx: 2\n", "not 2 documents"),
            ("x: 1\nx: 2\n", "the key 'x' is given twice"),
            ("x: [1\n", "is not YAML"),
            ("x: !!binary aGVsbG8=\n", "the tag '!!binary' is not allowed"),
            ("x: &x [*x]\n", "stands before or inside what it names"),
            ("[" * 100_000, "deeper than 200 levels"),
            ("x: yes\n", "argument 'x' must be an integer, but is a boolean"),
        ],
    )
    def test_a_file_of_arguments_is_read_strictly(
        self, penstock: Penstock, adding: Path, tmp_path: Path, home: Path, text: str, words: str
    ) -> None:
        params = tmp_path / "params.yaml"
        params.write_text(text)

        assert words in penstock("run", adding, "--params", params).complaint
        assert not home.exists()


def test_the_names_of_run_and_experiment_are_kept(penstock: Penstock, adding: Path) -> None:
    penstock("run", adding, "-p", "x=3", "--name", "my run", "--experiment", "tuning")

    run = penstock("runs", "list", "--json").objects[0]
    assert (run["name"], run["experiment"], run["pipeline"]) == ("my run", "tuning", "adding")


def test_a_name_that_no_terminal_can_show_does_no_harm(penstock: Penstock, adding: Path) -> None:
    assert penstock("run", adding, "-p", "x=3", "--name", "caf\udce9 \x1b[31m").code == 0
    assert penstock("runs", "list").code == 0


def test_fail_fast_starts_nothing_new(penstock: Penstock, tmp_path: Path) -> None:
    tasks = [Shell("broken", "exit 1"), *(Shell(f"other-{n}", "true") for n in range(4))]
    document = write(pipeline("fast", *tasks), tmp_path / "fast.yaml")

    answer = penstock("run", document, "--fail-fast", "--parallel", "1", "--json")

    assert answer.code == 1
    run = answer.objects[-1]["run"]
    others = [run["tasks"][f"other-{n}"]["state"] for n in range(4)]
    assert others == ["SKIPPED"] * 4
    patient = penstock("run", document, "--parallel", "1", "--json").objects[-1]["run"]
    assert [patient["tasks"][f"other-{n}"]["state"] for n in range(4)] == ["SUCCEEDED"] * 4


@pytest.mark.parametrize(("parallel", "at_once"), [(1, 1), (3, 3)])
def test_parallel_is_how_many_tasks_run_at_once(
    penstock: Penstock, tmp_path: Path, parallel: int, at_once: int
) -> None:
    """Each task waits, for a second, until as many others as `at_once` less one run beside it."""
    meet = tmp_path / "meet"
    meet.mkdir()
    script = f"""
touch {meet}/$PENSTOCK_ATTEMPT_ID
most=0
for i in 1 2 3 4 5 6 7 8 9 10; do
    now=$(ls {meet} | wc -l)
    [ $now -gt $most ] && most=$now
    [ $most -ge {at_once + 1} ] && break
    sleep 0.05
done
rm {meet}/$PENSTOCK_ATTEMPT_ID
printf %s $most >"$most_seen"
"""
    tasks = [Shell(f"task-{n}", script, outputs={"most_seen": "NUMBER_INTEGER"}) for n in range(3)]
    document = write(pipeline("meeting", *tasks), tmp_path / "meeting.yaml")

    run = penstock("run", document, "--parallel", str(parallel), "--json").objects[-1]["run"]

    assert max(task["outputs"]["most_seen"] for task in run["tasks"].values()) == at_once


def test_artifacts_go_where_the_pipeline_root_says(penstock: Penstock, adding: Path, tmp_path: Path) -> None:
    root = tmp_path / "artifacts of mine"

    run = penstock("run", adding, "-p", "x=3", "--json", "--pipeline-root", root).objects[-1]["run"]

    assert run["outputs"]["model"]["uri"].startswith(root.as_uri())


def test_logs_are_streamed_with_the_path_of_their_task(penstock: Penstock, adding: Path) -> None:
    assert "[use] total 5" in penstock("run", adding, "-p", "x=3", "--logs").lines


@pytest.mark.parametrize("setting", ["PENSTOCK_ENGINE", "PENSTOCK_LAUNCHER"])
def test_an_engine_or_launcher_that_is_not_there_is_refused_first(
    penstock: Penstock, adding: Path, home: Path, monkeypatch: pytest.MonkeyPatch, setting: str
) -> None:
    monkeypatch.setenv(setting, "nomad")

    assert "'nomad' is installed" in penstock("run", adding, "-p", "x=3").complaint
    assert not home.exists()

"""`penstock gc` and `penstock runs delete`."""

from __future__ import annotations

import os
from pathlib import Path
from typing import Any

import pytest

from penstock.execution.settings import load_settings
from penstock.execution.workspace import Workspace
from tests.unit.cli.conftest import Penstock


@pytest.fixture
def three(penstock: Penstock, adding: Path) -> Penstock:
    """`one`, `two` of experiment tuning, and `three`, which had its tasks from the cache of `two`."""
    penstock("run", adding, "-p", "x=1", "--name", "one")
    penstock("run", adding, "-p", "x=2", "--name", "two", "--experiment", "tuning")
    penstock("run", adding, "-p", "x=2", "--name", "three")
    return penstock


def runs(penstock: Penstock) -> list[str]:
    return [str(run["name"]) for run in penstock("runs", "list", "--json").objects]


def files(home: Path) -> list[str]:
    """What artifacts and attempts there are, by run."""
    return sorted(
        {
            path.relative_to(home / top).parts[depth]
            for top, depth in (("artifacts", 1), ("attempts", 0))
            for path in (home / top).rglob("*")
            if path.is_file()
        }
    )


def identity(penstock: Penstock, name: str) -> str:
    return str(penstock("runs", "get", name, "--json").objects[0]["run"]["id"])


class TestDryRun:
    def test_it_says_what_would_go_and_removes_nothing(self, three: Penstock, home: Path) -> None:
        before = files(home)

        lines = three("gc", "--keep-last", "0", "--experiment", "Default").lines

        assert lines[0].split() == [
            *("RUN", "NAME", "PIPELINE", "EXPERIMENT", "STATE", "ENDED", "TASKS", "ARTIFACTS", "SIZE")
        ]
        assert lines[1].split()[1:5] == ["three", "adding", "Default", "SUCCEEDED"]
        assert lines[1].split()[-3:] == ["0", "0", "B"]
        assert lines[2].split()[1] == "one" and lines[2].split()[-4:] == ["3", "2", "16", "B"]
        assert lines[3:] == [
            "would remove 2 runs with 6 tasks, 2 artifacts, 16 B",
            "nothing was removed; add --yes to remove it",
        ]
        assert (runs(three), files(home)) == (["three", "two", "one"], before)

    def test_it_says_so_too_when_asked_for(self, three: Penstock) -> None:
        assert three("gc", "--dry-run", "--keep-last", "0").out == three("gc", "--keep-last", "0").out
        assert len(runs(three)) == 3

    def test_it_says_why_a_run_stays(self, three: Penstock) -> None:
        lines = three("gc", "--experiment", "tuning").lines

        assert lines[0] == "would remove no run"
        assert lines[1] == (
            f"keeps run {identity(three, 'two')[-8:]}: "
            f"run {identity(three, 'three')} has outputs of it from the cache"
        )

    def test_json_names_every_run(self, three: Penstock) -> None:
        (found,) = three("gc", "--keep-last", "1", "--json").objects

        assert found["dry_run"] is True
        assert found["runs"] == [{"id": identity(three, "one"), "tasks": 3, "artifacts": 2, "bytes": 16}]
        assert (found["environments"], found["kept"]) == ([], {})


class TestApply:
    def test_it_removes_records_logs_and_artifacts(self, three: Penstock, home: Path) -> None:
        two = identity(three, "two")

        lines = three("gc", "--keep-last", "1", "--yes").lines

        assert lines == ["removed 1 run with 3 tasks, 2 artifacts, 16 B"]
        assert runs(three) == ["three", "two"]
        assert files(home) == [two]
        assert three("artifacts", "list", "--json").objects[0]["run"] == two
        assert (
            Path(three("artifacts", "get", "three:add.model", "--path").lines[0]).read_text() == "a model\n"
        )

    @pytest.mark.parametrize("word", ["--yes", "-y", "--apply"])
    def test_it_takes_the_words_of_others(self, three: Penstock, word: str) -> None:
        three("gc", "--experiment", "Default", word)

        assert runs(three) == ["two"]

    def test_what_is_gone_is_not_served_from_the_cache(self, three: Penstock, adding: Path) -> None:
        three("gc", "--keep-last", "0", "--yes")
        assert runs(three) == []

        answer = three("run", adding, "-p", "x=2", "--name", "again", "--json")

        assert not any(task["cached"] for task in answer.objects[-1]["run"]["tasks"].values())

    def test_all_that_is_given_has_to_fit(self, three: Penstock, failing: Path) -> None:
        three("run", failing, "-p", "fails=yes", "--name", "bad")

        assert three("gc", "--state", "failed", "--pipeline", "adding").lines[0] == "would remove no run"
        assert three("gc", "--older-than", "1h", "--keep-last", "0").lines[0] == "would remove no run"
        three("gc", "--state", "failed", "--keep-last", "0", "--yes")
        assert runs(three) == ["three", "two", "one"]

    def test_runs_go_by_age(
        self, three: Penstock, adding: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        monkeypatch.setenv("PENSTOCK_ENVIRONMENTS", str(tmp_path / "environments"))
        with Workspace(load_settings()) as workspace, workspace.store._database.write() as connection:
            connection.exec_driver_sql("UPDATE runs SET ended_at = ended_at - 7200 WHERE name = 'one'")

        assert three("gc", "--older-than", "3h", "--yes").lines[0].startswith("removed 0 runs")
        assert three("gc", "--older-than", "1h", "--yes").lines[0].startswith("removed 1 run ")
        assert runs(three) == ["three", "two"]

    def test_old_environments_go_too_unless_only_some_runs_are_meant(
        self, three: Penstock, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        old = _environment(tmp_path / "environments" / "3.11.7-0123456789abcdef")
        monkeypatch.setenv("PENSTOCK_ENVIRONMENTS", str(tmp_path / "environments"))

        assert "environment" not in three("gc", "--older-than", "1d", "--state", "failed").out
        assert "would remove 1 environment, " in three("gc", "--older-than", "1d").out
        assert old.exists()
        assert three("gc", "--older-than", "1d", "--yes").lines[-1] == "removed 1 environment"
        assert not old.exists()
        assert len(runs(three)) == 3

    def test_a_pinned_artifact_keeps_its_run(self, three: Penstock) -> None:
        model = str(three("artifacts", "get", "one:add.model", "--json").objects[0]["id"])
        with Workspace(load_settings()) as workspace:
            workspace.store.artifacts.pin(model, "model iris, version 3")

        lines = three("gc", "--keep-last", "1", "--yes").lines

        assert lines[1].endswith(": model iris, version 3 refers to what it made")
        assert runs(three) == ["three", "two", "one"]

    def test_what_another_run_imported_stays_as_long_as_that_run(
        self, three: Penstock, importing: Path, home: Path
    ) -> None:
        place = three("artifacts", "get", "one:add.model", "--path").lines[0]
        copy = Path(three("artifacts", "get", "one:use.copy", "--path").lines[0])
        three("run", importing, "-p", f"data={place}", "--name", "reader")
        one = identity(three, "one")

        lines = three("gc", "--keep-last", "1", "--pipeline", "adding", "--yes").lines

        assert lines[-1] == "other runs imported some of what 1 removed run had made; it goes with them"
        assert Path(place).exists() and not copy.exists()
        three("gc", "--pipeline", "importing", "--yes")
        assert not Path(place).exists() and not (home / "artifacts" / "adding" / one).exists()

    def test_what_the_user_made_is_never_touched(
        self, penstock: Penstock, importing: Path, tmp_path: Path
    ) -> None:
        data = tmp_path / "data.csv"
        data.write_text("1")
        penstock("run", importing, "-p", f"data={data}")

        assert penstock("gc", "--keep-last", "0", "--yes").code == 0
        assert data.read_text() == "1" and runs(penstock) == []

    def test_an_artifact_store_that_is_away_is_tried_again_by_the_next(
        self, three: Penstock, home: Path
    ) -> None:
        (home / "artifacts").rename(home / "away")

        answer = three("gc", "--keep-last", "1", "--yes")

        assert answer.code == 1
        assert answer.err == (
            f"error: the content of 1 run could not be deleted: the artifact folder '{home}/artifacts' "
            "is not there; mount it, or make it again; the next `penstock gc` tries again\n"
        )
        assert runs(three) == ["three", "two"]
        assert (
            "would finish 1 removal begun earlier: the artifact folder"
            in three("gc", "--state", "failed").out
        )
        (home / "away").rename(home / "artifacts")
        assert three("gc", "--state", "failed", "--yes").code == 0
        assert files(home) == [identity(three, "two")]

    def test_read_only_folders_of_a_task_go_as_well(self, three: Penstock, home: Path) -> None:
        attempts = home / "attempts" / identity(three, "one")
        (deep := attempts / "x" / "deep").mkdir(parents=True)
        (deep / "file").touch()
        for folder in (deep, deep.parent):
            folder.chmod(0o500)

        three("gc", "--keep-last", "1", "--yes")

        assert not attempts.exists()


class TestBadInput:
    @pytest.mark.parametrize(
        ("arguments", "words"),
        [
            ([], "say which runs: --older-than 30d, --keep-last 10"),
            (["--yes"], "say which runs"),
            (
                ["--older-than", "soon"],
                "--older-than takes a number and s, m, h, d or w, such as 30d, not 'soon'",
            ),
            (["--older-than", "-3d"], "--older-than takes"),
            (["--older-than", "3"], "not '3'"),
            (["--keep-last", "-1"], "'--keep-last'"),
            (["--keep-last", "many"], "'--keep-last'"),
            (["--experiment", "nope"], "there is no experiment 'nope'"),
            (["--pipeline", "nope"], "there is no pipeline 'nope'"),
            (["--state", "nope"], "'nope' is no end of a run; runs end SUCCEEDED"),
            (["--state", "running"], "'running' is no end of a run"),
            (["--keep-last", "1", "--yes", "--dry-run"], "--yes and --dry-run exclude each other"),
        ],
    )
    def test_it_is_refused_in_a_sentence(
        self, penstock: Penstock, adding: Path, arguments: list[str], words: str
    ) -> None:
        penstock("run", adding, "-p", "x=1")

        assert words in penstock("gc", *arguments).complaint
        assert len(runs(penstock)) == 1


class TestDelete:
    def test_a_run_goes_with_what_it_made(self, three: Penstock, home: Path) -> None:
        assert three("runs", "delete", "one", "--yes").lines == [
            "removed 1 run with 3 tasks, 2 artifacts, 16 B"
        ]
        assert runs(three) == ["three", "two"]
        assert files(home) == [identity(three, "two")]

    def test_one_that_another_needs_goes_only_with_it(self, three: Penstock) -> None:
        complaint = three("runs", "delete", "two", "-y").complaint
        assert (
            f"cannot be removed: run {identity(three, 'three')} has outputs of it from the cache" in complaint
        )
        assert three("runs", "delete", "two", "latest", "-y").code == 0
        assert runs(three) == ["one"]

    def test_without_a_person_to_ask_it_wants_to_be_told(
        self, three: Penstock, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        monkeypatch.setattr("sys.stdin", open(os.devnull))  # noqa: SIM115
        assert "add --yes if you mean it" in three("runs", "delete", "one").complaint
        assert len(runs(three)) == 3

    def test_one_that_is_not_there(self, three: Penstock) -> None:
        assert "there is no run 'nope'" in three("runs", "delete", "nope", "--yes").complaint


def _environment(path: Path) -> Path:
    """As the cache of environments leaves one that was used in 2001."""
    from penstock.execution.environments.environment import STAMP

    path.mkdir(parents=True)
    stamp: dict[str, Any] = {
        "version": 1,
        "python": {"version": "3.11.7"},
        "requirements": [],
        "notes": [],
        "created": 1e9,
    }
    import json

    (path / STAMP).write_text(json.dumps(stamp))
    os.utime(path / STAMP, (1e9, 1e9))
    return path

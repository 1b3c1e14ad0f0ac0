"""`penstock artifacts`, `doctor`, `pipelines`, `config`, `version`, completion, and what all commands
share.
"""

from __future__ import annotations

import hashlib
import os
import subprocess
import sys
from pathlib import Path

import pytest

import penstock as package
from tests.documents import Shell, pipeline, write
from tests.unit.cli.conftest import Penstock


class TestArtifacts:
    def test_they_are_listed_newest_first(self, penstock: Penstock, adding: Path) -> None:
        penstock("run", adding, "-p", "x=3")

        header, copy, model = penstock("artifacts", "list").lines

        assert header.split() == ["ARTIFACT", "NAME", "TYPE", "SIZE", "RUN", "TASK"]
        assert copy.split()[1:5] == ["copy", "system.Dataset", "8", "B"] and copy.split()[-1] == "use"
        assert model.split()[1:3] == ["model", "system.Model"] and model.split()[-1] == "add"

    @pytest.mark.parametrize(
        ("given", "names"),
        [
            (["--type", "system.Model"], ["model"]),
            (["--name", "copy"], ["copy"]),
            (["--run", "latest"], ["copy", "model"]),
            (["--limit", "1"], ["copy"]),
            (["--type", "system.Metrics"], []),
        ],
    )
    def test_they_can_be_narrowed(
        self, penstock: Penstock, adding: Path, given: list[str], names: list[str]
    ) -> None:
        penstock("run", adding, "-p", "x=3")

        assert [one["name"] for one in penstock("artifacts", "list", "--json", *given).objects] == names

    def test_one_is_shown_with_its_place_and_checksum(self, penstock: Penstock, adding: Path) -> None:
        penstock("run", adding, "-p", "x=3")
        listed = penstock("artifacts", "list", "--json", "--name", "model").objects[0]

        (shown,) = penstock("artifacts", "get", str(listed["id"])[-8:], "--json").objects

        assert shown == listed
        assert (shown["type"], shown["size"], shown["task"], shown["state"]) == (
            "system.Model",
            8,
            "add",
            "LIVE",
        )
        assert shown["sha256"] == hashlib.sha256(b"a model\n").hexdigest()
        text = penstock("artifacts", "get", str(listed["id"])).out
        assert f"uri         {listed['uri']}" in text

    def test_one_goes_by_its_run_task_and_output(self, penstock: Penstock, adding: Path) -> None:
        penstock("run", adding, "-p", "x=3")

        (path,) = penstock("artifacts", "get", "latest:add.model", "--path").lines

        assert Path(path).read_text() == "a model\n"
        assert penstock("artifacts", "get", "latest:model", "--path").lines == [path]

    @pytest.mark.parametrize(
        ("name", "words"),
        [
            ("nope", "there is no artifact 'nope'"),
            ("latest:add.nope", "task 'add' has no artifact 'nope'; it has model"),
            ("latest:nope.model", "has no task 'nope'"),
            ("nope:add.model", "there is no run 'nope'"),
        ],
    )
    def test_one_that_is_not_there(self, penstock: Penstock, adding: Path, name: str, words: str) -> None:
        penstock("run", adding, "-p", "x=3")

        assert words in penstock("artifacts", "get", name).complaint


class TestDoctor:
    def test_it_says_for_each_feature_what_becomes_of_it(self, penstock: Penstock, everything: Path) -> None:
        answer = penstock("doctor", everything)

        assert answer.code == 0
        assert answer.lines[0] == "on engine embedded"
        assert any(line.split()[:2] == ["runs", "loop"] for line in answer.lines)
        assert "needs images: alpine" in answer.lines
        assert answer.lines[-1] == "pipeline everything runs, with emulated features, on the embedded engine"

    def test_json_gives_each_place(self, penstock: Penstock, everything: Path) -> None:
        (found,) = penstock("doctor", everything, "--json").objects

        lists = {"findings", "images", "secrets", "secret_sources", "config_maps", "notes"}
        assert set(found) == {"support", *lists}
        assert found["images"] == ["alpine"]
        findings = found["findings"]
        assert {"engine", "support", "feature", "place", "text"} == set(findings[0])
        places = [one["place"] for one in findings if one["feature"] == "executor"]
        assert "deploymentSpec.executors.exec-say" in places and len(places) == 4

    def test_what_cannot_run_here_is_refused_with_1(self, penstock: Penstock, tmp_path: Path) -> None:
        task = Shell("odd", command=["surely-no-such-program"], image="registry.example/odd:1")
        document = write(pipeline("odd", task), tmp_path / "odd.yaml")

        answer = penstock("doctor", document)

        assert answer.code == 1
        assert answer.lines[1].split()[0] == "SUPPORT" and answer.lines[2].split()[0] == "refused"
        assert "surely-no-such-program" in answer.lines[3]
        assert answer.lines[-1] == "pipeline odd cannot run on the embedded engine"

    def test_nothing_is_recorded(self, penstock: Penstock, everything: Path, home: Path) -> None:
        penstock("doctor", everything)

        assert not (home / "penstock.db").exists()


class TestPipelines:
    def test_text_outlines_inputs_tasks_and_outputs(self, penstock: Penstock, adding: Path) -> None:
        lines = penstock("pipelines", "show", adding).lines

        assert lines[0] == "pipeline adding"
        assert lines[lines.index("inputs") + 1 : lines.index("tasks")] == [
            "  x: NUMBER_INTEGER",
            '  note: STRING = "none"',
        ]
        assert lines[lines.index("tasks") + 1 : lines.index("outputs")] == [
            "  add  [alpine]",
            "  use after add  [alpine]",
        ]
        assert lines[lines.index("outputs") + 1 :] == ["  total: NUMBER_INTEGER", "  model: system.Model"]

    def test_text_says_what_sets_a_task_apart(self, penstock: Penstock, everything: Path) -> None:
        out = penstock("pipelines", "show", everything).out

        assert "loop over 2 items" in out
        assert "if int(x) > 2" in out
        assert "1 retry;" in out
        assert "runs although upstream failed" in out

    def test_mermaid_draws_loops_as_subgraphs_and_waiting_as_arrows(
        self, penstock: Penstock, everything: Path
    ) -> None:
        lines = penstock("pipelines", "show", everything, "--output", "mermaid").lines

        assert lines[0] == "flowchart TD"
        assert '  subgraph root_0["loop (loop)"]' in lines and "  end" in lines
        assert "  root_2 -.-> root_3" in lines
        assert any("never<br/>if int(x) > 2" in line for line in lines)

    def test_svg_is_a_picture_of_it(self, penstock: Penstock, everything: Path) -> None:
        lines = penstock("pipelines", "show", everything, "-o", "svg").lines

        assert lines[0].startswith("<svg ") and lines[-1] == "</svg>"
        assert any("loop over 2 items" in line for line in lines)

    def test_another_form_is_refused(self, penstock: Penstock, adding: Path) -> None:
        answer = penstock("pipelines", "show", adding, "-o", "svgz")

        assert "not 'svgz'" in answer.complaint

    def test_nothing_is_recorded(self, penstock: Penstock, adding: Path, home: Path) -> None:
        penstock("pipelines", "show", adding)

        assert not home.exists()


class TestConfig:
    def test_each_setting_stands_with_its_value_and_origin(
        self, penstock: Penstock, home: Path, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        Path("penstock.toml").write_text('parallel = 3\nlauncher = "process"\nprivate_tmp = false\n')
        monkeypatch.setenv("PENSTOCK_PARALLEL", "5")

        (found,) = penstock("config", "--json").objects

        assert found["PENSTOCK_HOME"] == {"value": str(home), "origin": "environment PENSTOCK_HOME"}
        assert found["PENSTOCK_PARALLEL"] == {"value": "5", "origin": "environment PENSTOCK_PARALLEL"}
        toml = str(Path("penstock.toml").absolute())
        assert found["PENSTOCK_PRIVATE_TMP"] == {"value": "false", "origin": toml}
        assert found["PENSTOCK_ENGINE"] == {"value": "embedded", "origin": "default"}
        lines = penstock("config").lines
        assert lines[0].split() == ["SETTING", "VALUE", "FROM"]
        assert f"PENSTOCK_HOME {home} environment PENSTOCK_HOME" in [" ".join(line.split()) for line in lines]

    def test_secrets_are_masked(self, penstock: Penstock, monkeypatch: pytest.MonkeyPatch) -> None:
        monkeypatch.setenv("PENSTOCK_DATABASE_URL", "postgresql://ann:s3cr3t@db/penstock")

        for answer in (penstock("config"), penstock("config", "--json"), penstock("runs", "list")):
            assert "s3cr3t" not in answer.out + answer.err
        assert "postgresql://ann:***@db/penstock" in penstock("config").out

    def test_a_setting_that_is_none_is_bad_input(self, penstock: Penstock) -> None:
        Path("penstock.toml").write_text("paralel = 3\n")

        assert "sets 'paralel', which is no setting; did you mean 'parallel'?" in penstock("config").complaint


class TestUsage:
    @pytest.mark.parametrize("given", [["version"], ["--version"]])
    def test_the_version(self, given: list[str]) -> None:
        done = subprocess.run([sys.executable, "-m", "penstock", *given], capture_output=True, text=True)

        assert (done.returncode, done.stdout) == (0, f"penstock {package.__version__}\n")

    def test_the_version_needs_none_of_the_program(self) -> None:
        script = "import sys; from penstock.__main__ import main; main(); print(*sys.modules)"
        done = subprocess.run([sys.executable, "-c", script, "version"], capture_output=True, text=True)

        assert {"typer", "rich", "sqlalchemy", "yaml", "penstock.cli"}.isdisjoint(done.stdout.split())

    @pytest.mark.parametrize(
        ("given", "words"),
        [
            (["nope"], "No such command 'nope'; see `penstock --help`"),
            (["run"], "Missing argument 'FILE'; see `penstock run --help`"),
            (["run", "--nope", "x"], "No such option: --nope"),
            (["runs", "nope"], "No such command 'nope'; see `penstock runs --help`"),
            (["runs", "get", "a", "b"], "unexpected extra argument"),
            (["runs", "list", "--limit", "x"], "--limit"),
        ],
    )
    def test_a_wrong_command_is_one_line(self, penstock: Penstock, given: list[str], words: str) -> None:
        assert words in penstock(*given).complaint

    @pytest.mark.parametrize("given", [[], ["runs"], ["artifacts"], ["pipelines"]])
    def test_without_a_command_the_help_is_shown(self, penstock: Penstock, given: list[str]) -> None:
        answer = penstock(*given)

        assert answer.code == 2
        assert answer.err.startswith("Usage: penstock")

    @pytest.mark.parametrize("flag", ["-h", "--help"])
    def test_every_command_has_help(self, penstock: Penstock, flag: str) -> None:
        for command in ([], ["run"], ["runs", "retry"], ["artifacts", "lineage"], ["doctor"], ["config"]):
            answer = penstock(*command, flag)
            assert answer.code == 0 and answer.out.startswith(f"Usage: {' '.join(['penstock', *command])}")

    @pytest.mark.parametrize("shell", ["bash", "zsh", "fish"])
    def test_shell_completion(
        self,
        penstock: Penstock,
        monkeypatch: pytest.MonkeyPatch,
        capfd: pytest.CaptureFixture[str],
        shell: str,
    ) -> None:
        # Which shell started the tests is not for them to say.
        monkeypatch.setenv("_TYPER_COMPLETE_TEST_DISABLE_SHELL_DETECTION", "1")
        with pytest.raises(SystemExit) as stop:
            penstock("--show-completion", shell)

        assert stop.value.code == 0 and "_PENSTOCK_COMPLETE" in capfd.readouterr().out

    def test_completion_knows_commands(self) -> None:
        env = {
            **os.environ,
            "_PENSTOCK_COMPLETE": "complete_bash",
            "COMP_WORDS": "penstock ru",
            "COMP_CWORD": "1",
        }
        done = subprocess.run(
            [sys.executable, "-c", "from penstock.__main__ import main; main()"],
            capture_output=True, text=True, env=env,
        )  # fmt: skip

        assert {"run", "runs"} <= set(done.stdout.split())

    def test_a_reader_that_goes_away_does_no_harm(self, penstock: Penstock, adding: Path) -> None:
        for _ in range(3):
            penstock("run", adding, "-p", "x=3")
        done = subprocess.run(
            f"{sys.executable} -m penstock runs list --json | head -c 1",
            shell=True,
            capture_output=True,
            text=True,
        )

        assert (done.stdout, done.stderr) == ("{", "")

    def test_a_disk_that_fails_is_one_line(self, penstock: Penstock, home: Path, adding: Path) -> None:
        home.mkdir()
        (home / "engines").write_text("not a folder")

        answer = penstock("run", adding, "-p", "x=3")

        assert answer.code == 1
        assert answer.err.startswith("error: ") and answer.err.count("\n") == 1 and "engines" in answer.err


def shell(line: str, *words: str | Path) -> subprocess.CompletedProcess[str]:
    """A line of shell in which `penstock` is the command, and $1 and so on are the words."""
    script = f'penstock() {{ "{sys.executable}" -m penstock "$@"; }}; {line}'
    return subprocess.run(["bash", "-c", script, "bash", *words], capture_output=True, text=True)


class TestStreams:
    """What becomes of the output is no reason to leave a run behind."""

    def test_a_reader_that_goes_away_does_not_end_the_run(self, penstock: Penstock, adding: Path) -> None:
        done = shell('set -o pipefail; penstock run "$1" -p x=3 | head -n 1', adding)

        assert done.stderr == "" and done.stdout.startswith("run ")
        assert penstock("runs", "list", "--json").objects[0]["state"] == "SUCCEEDED"

    @pytest.mark.parametrize("flag", ["", "--json"])
    def test_output_that_cannot_be_written_is_told_after_the_run(
        self, penstock: Penstock, adding: Path, flag: str
    ) -> None:
        done = shell(f'penstock run "$1" -p x=3 {flag} >/dev/full', adding)

        assert (done.returncode, done.stderr) == (1, "error: No space left on device\n")
        assert penstock("runs", "list", "--json").objects[0]["state"] == "SUCCEEDED"

    def test_a_closed_output_is_no_error(self, penstock: Penstock, adding: Path) -> None:
        assert shell('penstock run "$1" -p x=3 >&- 2>&- <&-', adding).returncode == 0
        assert penstock("runs", "list", "--json").objects[0]["state"] == "SUCCEEDED"

    def test_nobody_hears_the_version(self) -> None:
        done = shell("penstock version >/dev/full")

        assert (done.returncode, done.stderr) == (1, "error: No space left on device\n")

    def test_a_folder_that_is_gone(self) -> None:
        done = shell('cd "$(mktemp -d)" && rmdir "$PWD" && penstock config')

        assert done.returncode == 2
        assert done.stderr == "error: the folder that you are in does not exist any more; go to another\n"

    @pytest.mark.parametrize("name", ["a b?c#d%20é&mode=ro", "two\nlines", "-dashes"])
    def test_a_home_may_have_any_name(
        self, penstock: Penstock, adding: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, name: str
    ) -> None:
        monkeypatch.setenv("PENSTOCK_HOME", str(tmp_path / name))

        assert penstock("run", adding, "-p", "x=3").code == 0
        (path,) = penstock("artifacts", "get", "latest:model", "--json").objects
        assert path["size"] == 8 and (tmp_path / name / "penstock.db").is_file()

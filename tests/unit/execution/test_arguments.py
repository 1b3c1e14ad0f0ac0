from __future__ import annotations

import json
import subprocess
import sys
from pathlib import Path

from penstock.execution.process.arguments import ENTRY, LIMIT, by_file, through_entry

SCRIPT = """p=$(mktemp -d)
printf "%s" "$0" > "$p/e.py"
_KFP_RUNTIME=true python3 -m kfp.dsl.executor_main  --path "$p/e.py" "$@"
"""

MODULE = """
import json, os, sys
from kfp.dsl.types import artifact_types
print(json.dumps([__name__, sys.argv[1:], sys.path[0], artifact_types.Artifact("/a/b").path, artifact_types.Artifact("gs://a").path]))
"""
OLD_ARTIFACT = """
class Artifact:
    def __init__(self, uri):
        self.uri = uri
    @property
    def path(self):
        return self._get_path()
    def _get_path(self):
        return "/gcs/" + self.uri[5:] if self.uri.startswith("gs://") else None
"""


def fake_kfp(folder: Path) -> Path:
    types = folder / "kfp" / "dsl" / "types"
    types.mkdir(parents=True)
    for package in (types, types.parent, types.parent.parent):
        (package / "__init__.py").touch()
    (types / "artifact_types.py").write_text(OLD_ARTIFACT)
    (types.parent / "executor_main.py").write_text(MODULE)
    return folder


def test_the_entry_runs_the_module_as_python_would_and_knows_paths_as_uris(tmp_path: Path) -> None:
    kfp = fake_kfp(tmp_path / "site")
    words = through_entry(
        [sys.executable, "-m", "kfp.dsl.executor_main", "--executor_input", "{}"], "kfp.dsl.executor_main"
    )
    found = subprocess.run(
        words, env={"PYTHONPATH": str(kfp)}, cwd=tmp_path, capture_output=True, text=True, check=True
    )
    assert json.loads(found.stdout) == [
        "__main__",
        ["--executor_input", "{}"],
        str(tmp_path),
        "/a/b",
        "/gcs/a",
    ]


def test_long_arguments_go_by_file_and_arrive_unchanged(tmp_path: Path) -> None:
    kfp = fake_kfp(tmp_path / "site")
    value = "é'\"\n$(id)" * 40_000
    words = [
        sys.executable,
        "-m",
        "kfp.dsl.executor_main",
        "--executor_input",
        value,
        "--x",
        "penstock-argument:a:/etc/passwd",
    ]
    words = by_file(through_entry(words, "kfp.dsl.executor_main"), "attempt-1", tmp_path / "it's")
    assert all(len(word.encode()) <= LIMIT for word in words)
    env = {"PYTHONPATH": str(kfp), "PENSTOCK_ATTEMPT_ID": "attempt-1"}
    found = subprocess.run(words, env=env, cwd=tmp_path, capture_output=True, text=True, check=True)
    assert json.loads(found.stdout)[1] == [
        "--executor_input",
        value,
        "--x",
        "penstock-argument:a:/etc/passwd",
    ]


def test_a_long_source_is_read_by_the_shell(tmp_path: Path) -> None:
    source = "# " + "x'\"$y`z" * 40_000
    words = ["sh", "-ec", 'printf "%s" "$0" > "$1"', source, str(tmp_path / "written")]
    words = by_file(words, "attempt-1", tmp_path / "arguments")
    subprocess.run(words, check=True)
    assert (tmp_path / "written").read_text() == source


def test_only_the_script_is_changed_never_the_source_or_a_value() -> None:
    source = "# python3 -m kfp.dsl.executor_main"
    words = ["sh", "-ec", SCRIPT, source, "--x", "-m", "kfp.dsl.executor_main"]
    found = through_entry(words, "kfp.dsl.executor_main")
    assert found[2] == SCRIPT.replace("-m kfp", f"{ENTRY} kfp")
    assert found[3:] == words[3:]


def test_the_entry_is_a_file_that_old_pythons_can_read() -> None:
    compile(ENTRY.read_text(), str(ENTRY), "exec", dont_inherit=True)
    assert "from __future__" not in ENTRY.read_text()

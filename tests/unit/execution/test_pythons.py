"""The Pythons of this machine, found once."""

from __future__ import annotations

import json
import stat
from pathlib import Path

import pytest

from penstock.execution.environments.pythons import installed_pythons, running_python


def test_the_pythons_of_the_path_are_found_and_remembered(
    tmp_path: Path, variables: dict[str, str], monkeypatch: pytest.MonkeyPatch
) -> None:
    found = installed_pythons(tmp_path / "root", variables)
    assert running_python().path in [one.path for one in found]
    assert len({one.path for one in found}) == len(found)
    monkeypatch.setattr("uv.find_uv_bin", lambda: pytest.fail("uv was asked again"))
    monkeypatch.setattr("penstock.execution.environments.pythons._found", {})
    assert installed_pythons(tmp_path / "root", variables) == found


def test_an_interpreter_that_is_gone_makes_the_memory_void(
    tmp_path: Path, variables: dict[str, str], monkeypatch: pytest.MonkeyPatch
) -> None:
    pythons = installed_pythons(tmp_path / "root", variables)
    file = next((tmp_path / "root").glob("pythons-*.json"))
    kept = json.loads(file.read_text())
    kept["pythons"][0]["path"] = "/nowhere/python3"
    file.write_text(json.dumps(kept))
    monkeypatch.setattr("penstock.execution.environments.pythons._found", {})
    assert installed_pythons(tmp_path / "root", variables) == pythons


def test_a_program_added_to_the_path_makes_uv_look_again(tmp_path: Path, variables: dict[str, str]) -> None:
    folder = tmp_path / "bin"
    folder.mkdir()
    variables = {**variables, "PATH": f"{folder}:{variables['PATH']}"}
    before = installed_pythons(tmp_path / "root", variables)
    assert all(Path(one.path).parent != folder for one in before)
    fake = folder / "python3"
    fake.write_text("#!/bin/sh\nexit 1\n")
    fake.chmod(fake.stat().st_mode | stat.S_IXUSR)
    file = next((tmp_path / "root").glob("pythons-*.json"))
    kept = file.read_text()
    assert installed_pythons(tmp_path / "root", variables) == before
    assert file.read_text() != kept

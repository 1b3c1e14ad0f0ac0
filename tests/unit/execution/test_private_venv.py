"""Real environments, made without a network: an empty one has pip as the Python brings it."""

from __future__ import annotations

import subprocess
import zipfile
from pathlib import Path

import pytest

from penstock.artifacts import FileArtifactStore
from penstock.execution.environments.cache import Environments
from penstock.execution.environments.environment import Environment, EnvironmentRequest
from penstock.execution.environments.images import PythonChoice
from penstock.execution.environments.private_venv import private_venv
from penstock.execution.environments.pythons import running_python
from penstock.execution.manifest import Outcome
from penstock.execution.process.launcher import ProcessLauncher
from penstock.model import ContainerExecutor
from tests.unit.execution.launching import container, log_of, order


@pytest.fixture(scope="module")
def environments(tmp_path_factory: pytest.TempPathFactory) -> Environments:
    return Environments(tmp_path_factory.mktemp("environments"), offline=True)


@pytest.fixture(scope="module")
def shared(environments: Environments) -> Environment:
    return environments.ensure(EnvironmentRequest(PythonChoice(running_python())))


def wheel(folder: Path, version: str) -> Path:
    path = folder / f"toy-{version}-py3-none-any.whl"
    with zipfile.ZipFile(path, "w") as archive:
        archive.writestr("toy.py", f"version = {version!r}\n")
        archive.writestr(
            f"toy-{version}.dist-info/METADATA", f"Metadata-Version: 2.1\nName: toy\nVersion: {version}\n"
        )
        archive.writestr(
            f"toy-{version}.dist-info/WHEEL", "Wheel-Version: 1.0\nRoot-Is-Purelib: true\nTag: py3-none-any\n"
        )
        archive.writestr(f"toy-{version}.dist-info/RECORD", "")
    return path


def python(environment: Environment, *words: str) -> str:
    command = [str(environment.python), *words]
    variables = environment.variables({"PATH": "/usr/bin:/bin"})
    return subprocess.run(command, env=variables, capture_output=True, text=True, check=True).stdout.strip()


def packages(environment: Environment) -> list[str]:
    return sorted(path.name for path in environment.path.glob("lib/python3*/site-packages/*"))


def test_what_a_task_installs_is_its_own(shared: Environment, tmp_path: Path) -> None:
    before = packages(shared)
    own, other = private_venv(shared, tmp_path / "it's own"), private_venv(shared, tmp_path / "other")
    python(own, "-m", "pip", "install", "--quiet", "--no-index", str(wheel(tmp_path, "1.0")))
    assert python(own, "-c", "import toy; print(toy.version)") == "1.0"
    with pytest.raises(subprocess.CalledProcessError):
        python(other, "-c", "import toy")
    assert packages(shared) == before


def test_a_shared_package_is_seen_and_can_be_replaced_for_the_task_alone(
    environments: Environments, tmp_path: Path
) -> None:
    shared = environments.ensure(EnvironmentRequest(PythonChoice(running_python())))
    base = private_venv(shared, tmp_path / "base")
    python(base, "-m", "pip", "install", "--quiet", "--no-index", str(wheel(tmp_path, "1.0")))
    own = private_venv(base, tmp_path / "own")
    assert python(own, "-c", "import toy; print(toy.version)") == "1.0"
    pip = str(own.bin / "pip")
    subprocess.run([pip, "install", "--quiet", "--no-index", str(wheel(tmp_path, "2.0"))], check=True)
    assert python(own, "-c", "import toy; print(toy.version)") == "2.0"
    assert python(base, "-c", "import toy; print(toy.version)") == "1.0"


def test_it_can_be_made_again_over_itself(shared: Environment, tmp_path: Path) -> None:
    assert private_venv(shared, tmp_path / "own") == private_venv(shared, tmp_path / "own")


def test_a_python_image_runs_in_an_environment_with_pip(environments: Environments, tmp_path: Path) -> None:
    home = tmp_path / "home"
    text = "python -c 'import sys; print(sys.prefix)'; which python3 pip; pip install --quiet --no-index $0"
    executor = ContainerExecutor("python:3", ("sh", "-ec", text, str(wheel(tmp_path, "1.0"))))
    ordered = order(home, executor)
    manifest = ProcessLauncher(home, FileArtifactStore(), environments).start(ordered).wait(60)
    assert manifest is not None
    assert manifest.outcome is Outcome.SUCCEEDED, manifest.error
    assert manifest.notes["python"].startswith("3.")
    venv = str(home / "attempts" / "run-1" / "attempt-1" / "venv")
    lines = [line for line in log_of(home).splitlines() if line.startswith(venv)]
    assert lines[:3] == [venv, f"{venv}/bin/python3", f"{venv}/bin/pip"]


def test_the_environment_is_held_while_the_task_runs(environments: Environments, tmp_path: Path) -> None:
    home = tmp_path / "home"
    launcher = ProcessLauncher(home, FileArtifactStore(), environments)
    attempt = launcher.start(order(home, container("sleep", "0.5", image="python:3")))
    held = [one.in_use for one in environments.list()]
    attempt.wait()
    assert any(held)
    assert not any(one.in_use for one in environments.list())

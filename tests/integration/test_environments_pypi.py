"""Environments from PyPI: real packages, and the bootstraps that real SDKs wrote."""

from __future__ import annotations

import os
import re
import subprocess
from pathlib import Path

import pytest

from penstock.execution.environments.bootstrap import PipInstall
from penstock.execution.environments.cache import Environments
from penstock.execution.environments.environment import Environment, EnvironmentBuildError, EnvironmentRequest
from penstock.execution.environments.images import AvailablePython, PythonChoice, PythonRequest, choose_python
from penstock.execution.environments.pythons import running_python

UNREACHABLE = re.compile("Failed to fetch|error sending request|dns error", re.IGNORECASE)


@pytest.fixture(scope="session")
def environments(tmp_path_factory: pytest.TempPathFactory) -> Environments:
    found = Environments(tmp_path_factory.mktemp("environments"))
    try:
        found.ensure(EnvironmentRequest(PythonChoice(running_python()), (PipInstall(("six",)),)))
    except EnvironmentBuildError as error:
        if UNREACHABLE.search(str(error)):
            pytest.skip(f"no package index can be reached: {error}")
        raise
    return found


def run(environment: Environment, *arguments: str, **variables: str) -> str:
    seen = environment.variables(os.environ) | variables
    done = subprocess.run([environment.python, *arguments], env=seen, capture_output=True, text=True)
    assert done.returncode == 0, done.stderr
    return done.stdout.strip()


def without_deps(version: str) -> tuple[PipInstall, ...]:
    backport = 'typing-extensions>=3.7.4,<5; python_version<"3.9"'
    return (PipInstall((f"kfp=={version}", backport), ("--no-deps",)),)


EXECUTORS = {
    "2.0.0-beta.16": "kfp.components.executor_main",
    "2.0.1": "kfp.components.executor_main",
    "2.1.3": "kfp.dsl.executor_main",
    "2.9.0": "kfp.dsl.executor_main",
    "2.14.6": "kfp.dsl.executor_main",
    "2.17.3": "kfp.dsl.executor_main",
}


@pytest.mark.parametrize(("version", "module"), EXECUTORS.items())
def test_the_executor_of_every_generation_of_the_sdk_starts(
    environments: Environments, version: str, module: str
) -> None:
    whole = (PipInstall((f"kfp=={version}",)),)
    installs = whole if version.startswith("2.0.") else without_deps(version)
    python = choose_python(PythonRequest("python:3.11", (3, 11)), environments.available_pythons())
    environment = environments.ensure(EnvironmentRequest(python, installs))
    assert "--executor_input" in run(environment, "-m", module, "--help", _KFP_RUNTIME="true")


def test_a_component_for_an_older_python_finds_its_distutils(environments: Environments) -> None:
    newer = [one for one in environments.available_pythons() if one.minor >= (3, 12)]
    if not newer:
        pytest.skip("needs Python 3.12 or newer")
    choice = choose_python(PythonRequest("python:3.9", (3, 9)), newer)
    environment = environments.ensure(EnvironmentRequest(choice, without_deps("2.1.3")))
    assert "distutils" in environment.notes[0]
    assert "--executor_input" in run(
        environment, "-m", "kfp.dsl.executor_main", "--help", _KFP_RUNTIME="true"
    )


def test_an_index_that_the_component_names_is_used(environments: Environments) -> None:
    options = ("--index-url=https://pypi.org/simple", "--trusted-host=https://pypi.org/simple")
    request = EnvironmentRequest(PythonChoice(running_python()), (PipInstall(("yapf",), options),))
    assert run(environments.ensure(request), "-c", "import yapf; print(yapf.__name__)") == "yapf"


@pytest.mark.parametrize(
    ("requirement", "reason"),
    [
        ("penstock-has-no-such-package", "was not found in the package registry"),
        ("six==0.0.7", "there is no version of six==0.0.7"),
        ("six>>1", "no such comparison operator"),
    ],
)
def test_what_cannot_be_installed_says_why(environments: Environments, requirement: str, reason: str) -> None:
    request = EnvironmentRequest(PythonChoice(running_python()), (PipInstall((requirement,)),))
    with pytest.raises(EnvironmentBuildError) as caught:
        environments.ensure(request)
    assert reason in str(caught.value)
    assert "\n" not in str(caught.value)


def test_for_a_kfp_that_was_never_published_a_patch_release_stands_in(environments: Environments) -> None:
    installs = (PipInstall(("kfp==2.14.0",), ("--no-deps",)),)
    environment = environments.ensure(EnvironmentRequest(PythonChoice(running_python()), installs))
    version = run(environment, "-c", "import importlib.metadata as found; print(found.version('kfp'))")
    assert version.startswith("2.14.")
    assert environment.notes == ("installed kfp~=2.14.0, because the package index has no kfp 2.14.0",)


def test_without_pip_of_its_own_a_python_gets_one_from_the_index(
    tmp_path: Path, environments: Environments, monkeypatch: pytest.MonkeyPatch
) -> None:
    def none(python: AvailablePython) -> list[str]:
        return []

    monkeypatch.setattr("penstock.execution.environments.builder.bundled_wheels", none)
    environment = Environments(tmp_path).ensure(EnvironmentRequest(PythonChoice(running_python())))
    assert run(environment, "-m", "pip", "--version").startswith("pip ")

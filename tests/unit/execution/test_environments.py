"""Cached environments, built for real with uv from packages made by hand: no network."""

from __future__ import annotations

import subprocess
from pathlib import Path

import pytest

from penstock.execution.environments import builder
from penstock.execution.environments.bootstrap import PipInstall
from penstock.execution.environments.cache import Environments
from penstock.execution.environments.environment import (
    STAMP,
    EnvironmentBuildError,
    EnvironmentRequest,
)
from penstock.execution.environments.images import AvailablePython, PythonChoice
from penstock.execution.environments.pythons import running_python
from tests.unit.execution.local_index import request, run, wheel

pytestmark = pytest.mark.skipif(
    not builder.bundled_wheels(running_python()), reason="this Python brings no pip for ensurepip"
)


def test_packages_their_dependencies_and_scripts_are_there(environments: Environments) -> None:
    environment = environments.ensure(request("banana"))
    assert run(environment, "-c", "import banana, apple; print(banana.VERSION, apple.VERSION)") == "2.5 1.0"
    script = subprocess.run([environment.bin / "banana"], capture_output=True, text=True, check=True)
    assert script.stdout == "2.5\n"
    assert environment.python_version == running_python().version
    assert (environment.substituted, environment.notes) == ("", ())


def test_an_environment_without_packages_has_pip(environments: Environments) -> None:
    assert run(environments.ensure(request()), "-m", "pip", "--version").startswith("pip ")


def test_no_deps_is_obeyed(environments: Environments) -> None:
    environment = environments.ensure(request("banana", options=("--no-deps",)))
    assert not list(environment.path.glob("lib/*/site-packages/apple.py"))


def test_later_installs_see_the_earlier_ones(environments: Environments, links: Path) -> None:
    wheel(links, "apple", "0.5")
    installs = (PipInstall(("apple==0.5",)), PipInstall(("banana",)))
    environment = environments.ensure(EnvironmentRequest(PythonChoice(running_python()), installs))
    assert run(environment, "-c", "import apple; print(apple.VERSION)") == "0.5"


def test_the_same_request_is_served_without_uv(
    environments: Environments, tmp_path: Path, variables: dict[str, str], monkeypatch: pytest.MonkeyPatch
) -> None:
    built = environments.ensure(request("apple"))
    monkeypatch.setattr(builder, "find_uv", lambda: pytest.fail("uv was called"))
    assert environments.ensure(request("apple")) == built
    assert Environments(tmp_path / "environments", variables=variables).ensure(request("apple")) == built


def test_order_options_and_python_make_different_keys_and_credentials_do_not() -> None:
    def key(*words: str, options: tuple[str, ...] = (), version: str = "3.11.7") -> str:
        python = PythonChoice(AvailablePython("/p", version))
        return EnvironmentRequest(python, (PipInstall(words, options),)).key

    different = [
        key("a", "b"),
        key("b", "a"),
        key("a", "b", options=("--pre",)),
        key("a", "b", version="3.11.8"),
    ]
    assert len(set(different)) == 4
    first = key("a", options=("--index-url=https://me:old@pypi.example/simple",))
    assert key("a", options=("--index-url=https://me:new@pypi.example/simple",)) == first
    assert key("a", options=("--index-url=https://other.example/simple",)) != first


@pytest.mark.parametrize(
    ("python", "replaces", "needed"),
    [("3.12.1", (3, 9), True), ("3.13.0", (3, 12), False), ("3.11.7", (3, 9), False), ("3.12.1", (), False)],
)
def test_distutils_is_kept_for_what_was_written_for_python_before_3_12(
    python: str, replaces: tuple[int, ...], needed: bool
) -> None:
    choice = PythonChoice(AvailablePython("/p", python), "…", replaces)
    assert EnvironmentRequest(choice, (PipInstall(("a",)),)).needs_setuptools is needed
    assert EnvironmentRequest(choice).needs_setuptools is False


def test_the_substitution_belongs_to_the_request_not_to_the_environment(environments: Environments) -> None:
    environments.ensure(request())
    replaced = EnvironmentRequest(PythonChoice(running_python(), "image python:3.6 asks for …"))
    assert environments.ensure(replaced).substituted == "image python:3.6 asks for …"


def test_a_package_that_does_not_exist_is_one_sentence_with_the_place_of_the_log(
    environments: Environments,
) -> None:
    with pytest.raises(EnvironmentBuildError) as caught:
        environments.ensure(request("cherry==7"))
    text, _, log = str(caught.value).partition(" The full log is ")
    assert text.startswith(f"cannot install cherry==7 for Python {running_python().version}: Because cherry")
    assert "\n" not in text
    assert "cherry" in Path(log).read_text()
    assert not list(Path(log).parent.parent.glob(f"*/{STAMP}"))


def test_a_failed_build_may_succeed_when_asked_again(environments: Environments, links: Path) -> None:
    with pytest.raises(EnvironmentBuildError):
        environments.ensure(request("cherry"))
    wheel(links, "cherry")
    assert run(environments.ensure(request("cherry")), "-c", "import cherry; print(cherry.VERSION)") == "1.0"


def test_an_unwritable_place_is_one_sentence(tmp_path: Path, variables: dict[str, str]) -> None:
    (tmp_path / "file").touch()
    with pytest.raises(
        EnvironmentBuildError, match=r"cannot build a Python environment in .*Not a directory"
    ):
        Environments(tmp_path / "file" / "root", variables=variables).ensure(request())


def test_progress_is_told_line_by_line(environments: Environments) -> None:
    lines: list[str] = []
    environments.ensure(request("apple"), lines.append)
    assert any("apple==1.0" in line for line in lines)


def test_credentials_are_nowhere_but_in_uvs_environment(
    tmp_path: Path, links: Path, variables: dict[str, str], monkeypatch: pytest.MonkeyPatch
) -> None:
    calls, program = tmp_path / "calls", tmp_path / "uv"
    program.write_text(f'#!/bin/sh\necho "$@" >> "{calls}"\nexec "{builder.find_uv()}" "$@"\n')
    program.chmod(0o755)
    monkeypatch.setattr(builder, "find_uv", lambda: str(program))
    lines: list[str] = []
    secret = "https://me:s3cr3t@127.0.0.1:9"
    wanted = PipInstall(
        ("cherry", f"date @ {secret}/date-1.0-py3-none-any.whl"), (f"--index-url={secret}/simple",)
    )
    root = tmp_path / "environments"
    variables = {**variables, "PIP_NO_INDEX": "", "UV_HTTP_RETRIES": "0"}
    with pytest.raises(EnvironmentBuildError) as caught:
        Environments(root, variables=variables).ensure(
            EnvironmentRequest(PythonChoice(running_python()), (wanted,)), lines.append
        )
    kept = [str(caught.value), *lines, calls.read_text()]
    kept += [file.read_text(errors="replace") for file in (root / "logs").iterdir()]
    kept += [str(path) for path in root.rglob("*")]
    assert "127.0.0.1:9" in "".join(kept)
    assert "s3cr3t" not in "".join(kept)


def test_the_dummy_sklearn_becomes_scikit_learn_with_a_note(environments: Environments, links: Path) -> None:
    wheel(links, "scikit_learn", "1.5")
    for asked in ("sklearn", "sklearn==0.0", "sklearn == 0.0.post1; python_version>'3'"):
        environment = environments.ensure(request(asked))
        assert run(environment, "-c", "import scikit_learn") == ""
        assert environment.notes == (
            "installed scikit-learn for sklearn, a name whose package on PyPI refuses to be installed",
        )


def test_kfp_1_gets_the_urllib3_of_its_time(environments: Environments, links: Path) -> None:
    for version in ("1.26.20", "2.2.0"):
        wheel(links, "urllib3", version)
    for name in ("1.8.4", "2.4.0"):
        wheel(links, "kfp", name)
    show = "import importlib.metadata as m; print([d.version for d in m.distributions(name='urllib3')])"
    old = environments.ensure(request("kfp==1.8.4"))
    assert run(old, "-c", show) == "['1.26.20']"
    assert old.notes == ("installed urllib3 1, because kfp 1 cannot be imported with urllib3 2",)
    new = environments.ensure(request("kfp==2.4.0"))
    assert (run(new, "-c", show), new.notes) == ("[]", ())


def test_a_pinned_kfp_that_no_index_has_is_replaced_by_its_patch_releases(
    environments: Environments, links: Path
) -> None:
    wheel(links, "kfp", "2.14.3")
    environment = environments.ensure(request("kfp==2.14.0"))
    assert environment.notes == ("installed kfp~=2.14.0, because the package index has no kfp 2.14.0",)


def test_another_package_that_no_index_has_is_not_replaced(environments: Environments, links: Path) -> None:
    wheel(links, "kfp_other", "2.14.3")
    with pytest.raises(EnvironmentBuildError):
        environments.ensure(request("kfp-other==2.14.0"))


def test_a_task_sees_its_environment_and_not_the_callers(environments: Environments) -> None:
    environment = environments.ensure(request())
    base = {
        "PATH": "/usr/bin",
        "PYTHONPATH": "/x",
        "PYTHONHOME": "/y",
        "PIP_TARGET": "/z",
        "PIP_INDEX_URL": "https://pypi.example/simple",
        "VIRTUAL_ENV": "/callers",
    }
    seen = environment.variables(base)
    assert seen["PATH"] == f"{environment.bin}:/usr/bin"
    assert seen["VIRTUAL_ENV"] == str(environment.path)
    assert seen["PYTHONNOUSERSITE"] == "1"
    assert seen["PIP_INDEX_URL"] == base["PIP_INDEX_URL"]
    assert not seen.keys() & {"PYTHONPATH", "PYTHONHOME", "PIP_TARGET"}
    assert base["PYTHONPATH"] == "/x"


def test_uv_does_not_read_the_project_that_penstock_is_called_in(
    environments: Environments, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    for folder in (tmp_path, tmp_path / "project"):
        folder.mkdir(exist_ok=True)
        (folder / "uv.toml").write_text("this is no toml")
        (folder / "pyproject.toml").write_text(
            '[project]\nname = "x"\nversion = "1"\nrequires-python = "<3"\n'
        )
    monkeypatch.chdir(tmp_path / "project")
    assert run(environments.ensure(request("apple")), "-c", "import apple") == ""

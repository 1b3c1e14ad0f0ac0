"""Cached environments, built for real with uv from wheels made here: no network."""

from __future__ import annotations

import base64
import hashlib
import io
import json
import os
import signal
import stat
import subprocess
import sys
import tarfile
import threading
import time
import zipfile
from pathlib import Path

import pytest

from penstock.execution import builder
from penstock.execution.bootstrap import PipInstall
from penstock.execution.environment import (
    STAMP,
    BuildCanceledError,
    Environment,
    EnvironmentBuildError,
    EnvironmentRequest,
)
from penstock.execution.environments import Environments
from penstock.execution.images import AvailablePython, PythonChoice
from penstock.execution.pythons import installed_pythons, running_python

pytestmark = pytest.mark.skipif(
    not builder.bundled_wheels(running_python()), reason="this Python brings no pip for ensurepip"
)

LONG_AGO = (time.time() - 7200, time.time() - 7200)

SLOW = """
import os, pathlib, shutil, time
HERE = pathlib.Path(__file__).parent
def _wait(name):
    end = time.monotonic() + 30
    while not os.path.exists(name) and time.monotonic() < end:
        time.sleep(0.02)
def build_wheel(folder, config_settings=None, metadata_directory=None):
    pathlib.Path(os.environ["SLOW_STARTED"]).touch()
    _wait(os.environ["SLOW_RELEASED"])
    name = "slow-1.0-py3-none-any.whl"
    shutil.copy(HERE / name, os.path.join(folder, name))
    return name
"""


def wheel(folder: Path, name: str, version: str = "1.0", requires: str = "") -> Path:
    """A package of one module whose `VERSION` is its version, with a script named like it."""
    info = f"{name}-{version}.dist-info"
    metadata = f"Metadata-Version: 2.1\nName: {name}\nVersion: {version}\n"
    files = {
        f"{name}.py": f"VERSION = {version!r}\ndef main():\n    print(VERSION)\n",
        f"{info}/METADATA": metadata + (f"Requires-Dist: {requires}\n" if requires else ""),
        f"{info}/WHEEL": "Wheel-Version: 1.0\nGenerator: by-hand\nRoot-Is-Purelib: true\nTag: py3-none-any\n",
        f"{info}/entry_points.txt": f"[console_scripts]\n{name} = {name}:main\n",
    }
    record = ""
    for path, text in files.items():
        digest = base64.urlsafe_b64encode(hashlib.sha256(text.encode()).digest()).rstrip(b"=").decode()
        record += f"{path},sha256={digest},{len(text)}\n"
    files[f"{info}/RECORD"] = f"{record}{info}/RECORD,,\n"
    folder.mkdir(parents=True, exist_ok=True)
    built = folder / f"{name}-{version}-py3-none-any.whl"
    with zipfile.ZipFile(built, "w") as archive:
        for path, text in files.items():
            archive.writestr(path, text)
    return built


def slow_sdist(folder: Path, tmp_path: Path) -> None:
    """A source distribution whose build waits for the file SLOW_RELEASED after it made SLOW_STARTED."""
    built = wheel(tmp_path / "slow", "slow")
    project = (
        '[project]\nname = "slow"\nversion = "1.0"\n'
        '[build-system]\nrequires = []\nbuild-backend = "backend"\nbackend-path = ["."]\n'
    )
    content = {
        "PKG-INFO": b"Metadata-Version: 2.1\nName: slow\nVersion: 1.0\n",
        "pyproject.toml": project.encode(),
        "backend.py": SLOW.encode(),
        built.name: built.read_bytes(),
    }
    folder.mkdir(exist_ok=True)
    with tarfile.open(folder / "slow-1.0.tar.gz", "w:gz") as archive:
        for name, data in content.items():
            member = tarfile.TarInfo(f"slow-1.0/{name}")
            member.size = len(data)
            archive.addfile(member, io.BytesIO(data))


@pytest.fixture
def links(tmp_path: Path) -> Path:
    folder = tmp_path / "links"
    wheel(folder, "apple")
    wheel(folder, "banana", "2.5", requires="apple")
    return folder


@pytest.fixture
def variables(tmp_path: Path, links: Path) -> dict[str, str]:
    return {
        "PATH": f"{Path(running_python().path).parent}:{os.defpath}",
        "HOME": str(tmp_path / "home"),
        "PIP_CONFIG_FILE": os.devnull,
        "PIP_NO_INDEX": "1",
        "PIP_FIND_LINKS": str(links),
        "UV_CACHE_DIR": str(tmp_path / "uv-cache"),
        "SLOW_STARTED": str(tmp_path / "started"),
        "SLOW_RELEASED": str(tmp_path / "released"),
    }


@pytest.fixture
def environments(tmp_path: Path, variables: dict[str, str]) -> Environments:
    return Environments(tmp_path / "environments", offline=True, variables=variables)


def request(*requirements: str, options: tuple[str, ...] = ()) -> EnvironmentRequest:
    installs = (PipInstall(requirements, options),) if requirements else ()
    return EnvironmentRequest(PythonChoice(running_python()), installs)


def run(environment: Environment, *arguments: str) -> str:
    variables = environment.variables({"PATH": os.defpath})
    done = subprocess.run(
        [environment.python, *arguments], env=variables, capture_output=True, text=True, check=True
    )
    return done.stdout.strip()


def count_uv(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A uv that notes each call; the file of the notes."""
    notes, program = tmp_path / "uv-calls", tmp_path / "uv"
    program.write_text(f'#!/bin/sh\necho "$1" >> "{notes}"\nexec "{builder.find_uv()}" "$@"\n')
    program.chmod(0o755)
    monkeypatch.setattr(builder, "find_uv", lambda: str(program))
    notes.touch()
    return notes


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


ASK = """
import json, os, sys
from pathlib import Path
from penstock.execution import builder
from penstock.execution.bootstrap import PipInstall
from penstock.execution.environment import EnvironmentRequest
from penstock.execution.environments import Environments
from penstock.execution.images import PythonChoice
from penstock.execution.pythons import running_python
root, uv, variables, requirement = sys.argv[1:]
if uv:
    builder.find_uv = lambda: uv
request = EnvironmentRequest(PythonChoice(running_python()), (PipInstall((requirement,)),))
found = Environments(Path(root), offline=True, variables=json.loads(variables)).ensure(request, print)
print("PATH", found.path)
"""


def ask(tmp_path: Path, variables: dict[str, str], requirement: str, uv: str = "") -> subprocess.Popen[str]:
    arguments = [str(tmp_path / "environments"), uv, json.dumps(variables), requirement]
    return subprocess.Popen(
        [sys.executable, "-c", ASK, *arguments], stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True
    )


def test_of_many_processes_one_builds_and_the_others_wait(
    tmp_path: Path, variables: dict[str, str], monkeypatch: pytest.MonkeyPatch
) -> None:
    notes = count_uv(tmp_path, monkeypatch)
    asking = [ask(tmp_path, variables, "banana", builder.find_uv()) for _ in range(6)]
    answers = [process.communicate(timeout=120)[0] for process in asking]
    assert [process.returncode for process in asking] == [0] * 6, answers
    assert len({answer.splitlines()[-1] for answer in answers}) == 1
    assert notes.read_text().split().count("venv") == 1


def test_of_many_threads_one_builds_and_all_share_its_failure(
    environments: Environments, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    notes = count_uv(tmp_path, monkeypatch)
    together = threading.Barrier(5)
    errors: list[str] = []

    def build() -> None:
        together.wait()
        try:
            environments.ensure(request("cherry"))
        except EnvironmentBuildError as error:
            errors.append(str(error))

    threads = [threading.Thread(target=build) for _ in range(5)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert len(errors) == 5
    assert len(set(errors)) == 1
    assert notes.read_text().split().count("venv") == 1


def wait_for(path: Path) -> None:
    end = time.monotonic() + 30
    while not path.exists():
        assert time.monotonic() < end, f"{path} did not appear"
        time.sleep(0.02)


def test_what_a_killed_builder_left_is_built_anew_once_its_uv_has_ended(
    environments: Environments, tmp_path: Path, links: Path, variables: dict[str, str]
) -> None:
    slow_sdist(links, tmp_path)
    doomed = ask(tmp_path, variables, "slow")
    wait_for(tmp_path / "started")
    os.kill(doomed.pid, signal.SIGKILL)
    doomed.wait()
    waiting = threading.Event()
    found: list[Environment] = []
    heir = threading.Thread(
        target=lambda: found.append(environments.ensure(request("slow"), lambda line: waiting.set()))
    )
    heir.start()
    assert waiting.wait(10)
    assert not found
    (tmp_path / "released").touch()
    heir.join(60)
    assert run(found[0], "-c", "import slow; print(slow.VERSION)") == "1.0"
    doomed.communicate()


def test_a_folder_without_stamp_is_built_anew(environments: Environments) -> None:
    built = environments.ensure(request("apple"))
    (built.path / STAMP).unlink()
    (built.path / "half-written").touch()
    assert environments.ensure(request("apple")) == built
    assert not (built.path / "half-written").exists()


def test_an_environment_whose_python_is_gone_is_built_anew(environments: Environments) -> None:
    built = environments.ensure(request("apple"))
    built.python.unlink()
    built.python.symlink_to("/nowhere/python3")
    assert run(environments.ensure(request("apple")), "-c", "import apple") == ""


def test_a_build_can_be_canceled_and_leaves_nothing(
    environments: Environments, tmp_path: Path, links: Path
) -> None:
    slow_sdist(links, tmp_path)
    began = time.monotonic()
    with pytest.raises(BuildCanceledError):
        environments.ensure(request("slow"), canceled=(tmp_path / "started").exists)
    assert time.monotonic() - began < 20
    assert environments.list() == ()
    assert not (tmp_path / "environments" / request("slow").key).exists()
    (tmp_path / "released").touch()
    assert environments.ensure(request("slow")).path.exists()


def test_list_tells_what_there_is_and_prune_removes_what_was_not_used(environments: Environments) -> None:
    old, new = environments.ensure(request("apple")), environments.ensure(request("banana"))
    os.utime(old.path / STAMP, LONG_AGO)
    first, second = environments.list()
    assert (first.key, first.requirements, first.in_use) == (old.key, ("apple",), False)
    assert (second.path, second.python_version) == (new.path, running_python().version)
    assert first.bytes > 1_000_000
    assert time.time() - first.last_used > 7000
    assert environments.prune(older_than=3600) == (old.key,)
    assert not old.path.exists()
    assert [one.key for one in environments.list()] == [new.key]


def test_using_an_environment_renews_it(
    tmp_path: Path, environments: Environments, variables: dict[str, str]
) -> None:
    built = environments.ensure(request())
    os.utime(built.path / STAMP, LONG_AGO)
    Environments(tmp_path / "environments", variables=variables).ensure(request())
    assert environments.prune(older_than=3600) == ()


def test_what_is_held_is_not_pruned_even_if_only_a_child_still_holds_it(environments: Environments) -> None:
    environment = environments.ensure(request())
    with environment.hold() as hold:
        child = subprocess.Popen(
            [sys.executable, "-c", "input()"], stdin=subprocess.PIPE, pass_fds=(hold.fileno(),)
        )
        assert environments.prune() == ()
        assert environments.list()[0].in_use
    assert environments.prune() == ()
    child.communicate(b"\n")
    assert environments.prune() == (environment.key,)


def test_a_hold_on_what_was_pruned_says_so(environments: Environments) -> None:
    environment = environments.ensure(request())
    environments.prune()
    with pytest.raises(EnvironmentBuildError, match="was pruned just now"):
        environment.hold()
    assert environments.ensure(request()) == environment


def test_the_pythons_of_the_path_are_found_and_remembered(
    tmp_path: Path, variables: dict[str, str], monkeypatch: pytest.MonkeyPatch
) -> None:
    found = installed_pythons(tmp_path / "root", variables)
    assert running_python().path in [one.path for one in found]
    assert len({one.path for one in found}) == len(found)
    monkeypatch.setattr("uv.find_uv_bin", lambda: pytest.fail("uv was asked again"))
    monkeypatch.setattr("penstock.execution.pythons._found", {})
    assert installed_pythons(tmp_path / "root", variables) == found


def test_an_interpreter_that_is_gone_makes_the_memory_void(
    tmp_path: Path, variables: dict[str, str], monkeypatch: pytest.MonkeyPatch
) -> None:
    pythons = installed_pythons(tmp_path / "root", variables)
    file = next((tmp_path / "root").glob("pythons-*.json"))
    kept = json.loads(file.read_text())
    kept["pythons"][0]["path"] = "/nowhere/python3"
    file.write_text(json.dumps(kept))
    monkeypatch.setattr("penstock.execution.pythons._found", {})
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

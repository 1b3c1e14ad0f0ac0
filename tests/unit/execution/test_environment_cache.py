"""Environments are shared: by processes, by threads, after a kill, and until they are pruned."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
import threading
import time
from pathlib import Path

import pytest

from penstock.execution.environments import builder
from penstock.execution.environments.cache import Environments
from penstock.execution.environments.environment import (
    STAMP,
    BuildCanceledError,
    Environment,
    EnvironmentBuildError,
)
from penstock.execution.environments.pythons import running_python
from tests.unit.execution.local_index import count_uv, request, run, slow_sdist

pytestmark = pytest.mark.skipif(
    not builder.bundled_wheels(running_python()), reason="this Python brings no pip for ensurepip"
)


LONG_AGO = (time.time() - 7200, time.time() - 7200)

ASK = """
import json, os, sys
from pathlib import Path
from penstock.execution.environments import builder
from penstock.execution.environments.bootstrap import PipInstall
from penstock.execution.environments.environment import EnvironmentRequest
from penstock.execution.environments.cache import Environments
from penstock.execution.environments.images import PythonChoice
from penstock.execution.environments.pythons import running_python
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

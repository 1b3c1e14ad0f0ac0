"""Who drives a run, and whether he lives."""

from __future__ import annotations

import os
import socket
import subprocess
import sys
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

from penstock.execution.owner import Owner, is_dead, share_home


def test_a_living_owner_is_not_dead_and_a_closed_one_leaves_nothing(tmp_path: Path) -> None:
    owner = Owner(tmp_path / "engines")

    assert not is_dead(owner.name, tmp_path / "engines")
    assert owner.name.split("/")[:2] == [socket.gethostname(), str(os.getpid())]

    owner.close()
    owner.close()
    assert is_dead(owner.name, tmp_path / "engines")
    assert os.listdir(tmp_path / "engines") == ["home"]


def test_two_owners_of_one_process_are_two(tmp_path: Path) -> None:
    first, second = Owner(tmp_path), Owner(tmp_path)
    first.close()

    assert is_dead(first.name, tmp_path) and not is_dead(second.name, tmp_path)
    second.close()


def test_an_owner_is_dead_as_soon_as_its_process_is(tmp_path: Path) -> None:
    script = (
        "import pathlib, sys; from penstock.execution.owner import Owner\n"
        "owner = Owner(pathlib.Path(sys.argv[1])); print(owner.name, flush=True); sys.stdin.read()"
    )
    child = subprocess.Popen(
        [sys.executable, "-c", script, tmp_path], stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True
    )
    assert child.stdout is not None
    name = child.stdout.readline().strip()
    assert not is_dead(name, tmp_path)

    child.kill()
    child.communicate()

    assert is_dead(name, tmp_path)


def test_a_child_does_not_keep_its_dead_parent_alive(tmp_path: Path) -> None:
    script = (
        "import pathlib, subprocess, sys; from penstock.execution.owner import Owner\n"
        "owner = Owner(pathlib.Path(sys.argv[1]))\n"
        "child = subprocess.Popen(['sleep', '60'], stdout=subprocess.DEVNULL)\n"
        "print(owner.name, child.pid, flush=True); sys.stdin.read()"
    )
    parent = subprocess.Popen(
        [sys.executable, "-c", script, tmp_path], stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True
    )
    assert parent.stdout is not None
    name, child = parent.stdout.readline().split()
    parent.kill()
    parent.communicate()
    try:
        assert is_dead(name, tmp_path)
    finally:
        os.kill(int(child), 9)


def test_of_an_owner_in_another_home_nobody_can_tell(tmp_path: Path) -> None:
    """Its lock lies elsewhere: that there is none here says nothing."""
    here, there = Owner(tmp_path / "here"), Owner(tmp_path / "there")

    assert not is_dead(there.name, tmp_path / "here")
    assert not is_dead(there.name, tmp_path / "a-home-without-owners")
    assert not share_home(here.name, there.name)
    assert share_home(here.name, Owner(tmp_path / "here").name)
    there.close()
    assert not is_dead(there.name, tmp_path / "here") and is_dead(there.name, tmp_path / "there")


def test_a_home_keeps_its_id_whoever_is_first_to_need_it(tmp_path: Path) -> None:
    with ThreadPoolExecutor(8) as threads:
        owners = list(threads.map(lambda _: Owner(tmp_path), range(8)))

    assert len({owner.name.split("/")[2] for owner in owners}) == 1
    assert max(os.listdir(tmp_path)) == "home" and len(os.listdir(tmp_path)) == 9


def test_nobody_can_tell_of_an_owner_on_another_machine(tmp_path: Path) -> None:
    home = Owner(tmp_path).name.split("/")[2]
    assert not is_dead(f"another-machine/1/{home}/unknown", tmp_path)
    assert not is_dead("a name that means nothing", tmp_path)

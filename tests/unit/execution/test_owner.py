"""Who drives a run, and whether he lives."""

from __future__ import annotations

import fcntl
import os
import socket
import subprocess
import sys
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import pytest

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


def name_of_dead(folder: Path) -> str:
    owner = Owner(folder)
    owner.close()
    return owner.name


def left_by(name: str, folder: Path) -> Path:
    """The lock that the owner leaves when it is killed."""
    host, unique = name.partition("/")[0], name.rpartition("/")[2]
    lock = folder / f"{unique}@{host}.lock"
    lock.touch()
    return lock


def test_locks_of_the_dead_are_swept_and_those_of_the_living_stay(tmp_path: Path) -> None:
    living, dead = Owner(tmp_path), name_of_dead(tmp_path)
    lock = left_by(dead, tmp_path)
    elsewhere = left_by("another-machine/1/home/unknown", tmp_path)
    assert is_dead(dead, tmp_path)

    Owner(tmp_path).close()

    assert not lock.exists() and elsewhere.exists()
    assert is_dead(dead, tmp_path) and not is_dead(living.name, tmp_path)
    living.close()


def test_whoever_asks_at_the_moment_of_a_sweep_is_not_deceived(tmp_path: Path) -> None:
    dead = name_of_dead(tmp_path)
    with left_by(dead, tmp_path).open() as asked:
        fcntl.flock(asked, fcntl.LOCK_SH)  # as a sweep does

        assert is_dead(dead, tmp_path)


def test_an_owner_whose_lock_is_swept_before_he_holds_it_makes_another(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    locked, swept = fcntl.flock, list[Path]()

    def late(descriptor: int, operation: int) -> None:
        if operation == fcntl.LOCK_EX and not swept:
            swept.extend(tmp_path.glob("*.lock"))
            Owner(tmp_path).close()
            assert not swept[0].exists()
        locked(descriptor, operation)

    monkeypatch.setattr(fcntl, "flock", late)
    owner = Owner(tmp_path)

    assert list(tmp_path.glob("*.lock")) == swept
    assert not is_dead(owner.name, tmp_path)
    owner.close()
    assert os.listdir(tmp_path) == ["home"]


def test_many_who_begin_and_end_at_once_keep_their_locks(tmp_path: Path) -> None:
    def begin(_: int) -> bool:
        owner = Owner(tmp_path)
        lives = not is_dead(owner.name, tmp_path)
        owner.close()
        return lives

    with ThreadPoolExecutor(8) as threads:
        assert all(threads.map(begin, range(200)))
    assert os.listdir(tmp_path) == ["home"]

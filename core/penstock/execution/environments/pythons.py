"""The Pythons of this machine, as uv finds them, remembered in the process and on disk."""

from __future__ import annotations

import json
import os
import platform
import sys
from collections.abc import Mapping, Sequence
from contextlib import suppress
from hashlib import sha256
from pathlib import Path
from threading import get_ident
from typing import cast

from penstock.execution.environments.images import AvailablePython

_FOREIGN = frozenset({"VIRTUAL_ENV", "CONDA_PREFIX", "UV_PYTHON", "UV_PYTHON_PREFERENCE", "UV_SYSTEM_PYTHON"})

_found: dict[str, tuple[AvailablePython, ...]] = {}


def installed_pythons(folder: Path, variables: Mapping[str, str]) -> tuple[AvailablePython, ...]:
    """Every usable CPython, in the order of PATH; the one that runs penstock is among them.

    pyenv's versions are looked up where they lie, since its shims show the selected ones only. The answer is
    kept in `folder`, one file for each PATH, and holds until a folder of the PATH changes or an interpreter
    is gone: no process is started then.
    """
    folders = _search_path(variables)
    name = sha256("\0".join(folders).encode()).hexdigest()[:16]
    seen = _fingerprint(folders, variables)
    memo = f"{folder} {name} {seen}"
    known = _found.get(memo)
    if known is None or not _usable(known):
        file = folder / f"pythons-{name}.json"
        known = _recall(file, seen)
        if known is None or not _usable(known):
            known = _discover(folders, variables)
            _remember(file, seen, known)
        _found[memo] = known
    return known


def running_python() -> AvailablePython:
    """The interpreter under this process; the one that its virtual environment was made from."""
    path = str(getattr(sys, "_base_executable", "") or sys.executable)
    return AvailablePython(os.path.realpath(path), platform.python_version(), sys.implementation.name)


def _home(variables: Mapping[str, str]) -> str:
    return variables.get("HOME") or os.path.expanduser("~")


def _search_path(variables: Mapping[str, str]) -> list[str]:
    path = variables.get("PATH", os.defpath).split(os.pathsep)
    folders = [one for one in path if one and not one.endswith("/shims")]
    pyenv = Path(variables.get("PYENV_ROOT") or f"{_home(variables)}/.pyenv", "versions")
    with suppress(OSError):
        folders += [f"{pyenv}/{version}/bin" for version in sorted(os.listdir(pyenv), reverse=True)]
    return list(dict.fromkeys(folders))


def _fingerprint(folders: Sequence[str], variables: Mapping[str, str]) -> str:
    """Changes whenever a program is added to or removed from one of `folders` or from uv's own Pythons."""
    managed = variables.get("UV_PYTHON_INSTALL_DIR") or f"{_home(variables)}/.local/share/uv/python"
    stamps: list[str] = []
    for one in (*folders, managed):
        try:
            stamps.append(str(os.stat(one).st_mtime_ns))
        except OSError:
            stamps.append("-")
    return sha256(f"{running_python()} {' '.join(stamps)}".encode()).hexdigest()[:16]


def _usable(pythons: Sequence[AvailablePython]) -> bool:
    return all(os.access(one.path, os.X_OK) for one in pythons)


def _recall(file: Path, seen: str) -> tuple[AvailablePython, ...] | None:
    try:
        kept = cast("dict[str, object]", json.loads(file.read_bytes()))
        if kept.get("seen") != seen:
            return None
        pythons = cast("list[dict[str, str]]", kept["pythons"])
        return tuple(AvailablePython(**one) for one in pythons)
    except (OSError, ValueError, KeyError, TypeError, AttributeError):
        return None


def _remember(file: Path, seen: str, pythons: Sequence[AvailablePython]) -> None:
    fields = ("path", "version", "implementation", "platform")
    listed = [{name: getattr(one, name) for name in fields} for one in pythons]
    with suppress(OSError):
        file.parent.mkdir(parents=True, exist_ok=True)
        fresh = file.with_suffix(f".{os.getpid()}.{get_ident()}.tmp")
        fresh.write_text(json.dumps({"seen": seen, "pythons": listed}))
        fresh.replace(file)


def _discover(folders: Sequence[str], variables: Mapping[str, str]) -> tuple[AvailablePython, ...]:
    found = {one.path: one for one in _listed_by_uv(folders, variables)}
    running = running_python()
    if running.implementation == "cpython":
        found.setdefault(running.path, running)
    return tuple(found.values())


def _listed_by_uv(folders: Sequence[str], variables: Mapping[str, str]) -> list[AvailablePython]:
    import subprocess

    from uv import find_uv_bin

    command = [find_uv_bin(), "python", "list", "--only-installed", "--output-format", "json", "--no-config"]
    environment = {name: value for name, value in variables.items() if name not in _FOREIGN}
    environment["PATH"] = os.pathsep.join(folders)
    try:
        answer = subprocess.run(
            command,
            env=environment,
            cwd="/",
            stdin=subprocess.DEVNULL,
            capture_output=True,
            check=False,
            timeout=120,
        )
        listed = cast("list[dict[str, str | None]]", json.loads(answer.stdout))
    except (OSError, subprocess.SubprocessError, ValueError):
        return []
    pythons: list[AvailablePython] = []
    for one in listed:
        path = os.path.realpath(one.get("path") or "")
        if one.get("implementation") != "cpython" or one.get("variant", "default") != "default":
            continue
        if os.access(path, os.X_OK):
            where = "-".join(one.get(part) or "none" for part in ("os", "arch", "libc"))
            pythons.append(AvailablePython(path, one.get("version") or "", "cpython", where))
    return pythons

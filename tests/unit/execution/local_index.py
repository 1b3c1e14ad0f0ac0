"""Packages made by hand, and what it takes to install them: no network."""

from __future__ import annotations

import base64
import hashlib
import io
import os
import subprocess
import tarfile
import zipfile
from pathlib import Path

import pytest

from penstock.execution.environments import builder
from penstock.execution.environments.bootstrap import PipInstall
from penstock.execution.environments.environment import Environment, EnvironmentRequest
from penstock.execution.environments.images import PythonChoice
from penstock.execution.environments.pythons import running_python

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

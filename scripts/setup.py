"""`setup.py GROUP...`: the workspace's own environment, .venv, brought to what uv.lock says.

Needs a bare Python 3.11 and a package index. uv.lock names PyPI, but only versions and hashes are taken from
it: where files come from is for the machine's pip or uv configuration to say. Done work is not done again.
"""

from __future__ import annotations

import hashlib
import os
import platform
import subprocess
import sys
import tempfile
import tomllib
import urllib.request
import zipfile
from collections.abc import Mapping
from pathlib import Path
from typing import TypedDict

ROOT = Path(__file__).resolve().parent.parent
VENV = ROOT / ".venv"
PYTHON = VENV / "bin" / "python"
UV = VENV / "bin" / "uv"
OURS = ["core", "workers"]
"""What is installed in place, in the order in which they need each other."""
INPUTS = ["uv.lock", *(f"{folder}/pyproject.toml" for folder in OURS), "scripts/setup.py"]
PIP_PLACES = {"PIP_PREFIX", "PIP_REQUIRE_VIRTUALENV", "PIP_ROOT", "PIP_TARGET", "PIP_USER"}


class File(TypedDict):
    url: str
    hash: str


class SetupError(Exception):
    """What went wrong and what to do, in a sentence."""


def main(groups: list[str]) -> int:
    try:
        todo = [group for group in groups if not is_done(group)]
        if todo:
            make_venv()
            uv = locked_uv()
            if not has_uv(uv[0]):
                get_uv(*uv)
            for group in todo:
                install(group)
    except SetupError as error:
        print(f"setup: {error}", file=sys.stderr)
        return 1
    return 0


def is_done(group: str) -> bool:
    stamp = VENV / f".{group}.done"
    return PYTHON.exists() and stamp.exists() and stamp.read_text("utf-8") == fingerprint()


def fingerprint() -> str:
    """Changes with whatever would make a finished environment stale, a moved checkout among it."""
    digest = hashlib.sha256(str(ROOT).encode())
    for name in INPUTS:
        digest.update((ROOT / name).read_bytes())
    return digest.hexdigest()


def own_environment() -> dict[str, str]:
    """The caller's environment without what would lead pip elsewhere than into .venv."""
    foreign = PIP_PLACES | {"PYTHONHOME", "PYTHONPATH", "VIRTUAL_ENV", "__PYVENV_LAUNCHER__"}
    return {name: value for name, value in os.environ.items() if name not in foreign}


def run(
    *command: str | Path, environment: Mapping[str, str] | None = None
) -> subprocess.CompletedProcess[str]:
    return subprocess.run(
        [str(part) for part in command],
        cwd=ROOT,
        env=environment or own_environment(),
        stdin=subprocess.DEVNULL,
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        text=True,
        check=False,
    )


def checked(what: str, *command: str | Path, environment: Mapping[str, str] | None = None) -> None:
    done = run(*command, environment=environment)
    if done.returncode:
        raise SetupError(f"{what} failed:\n{done.stdout.rstrip()}")


def make_venv() -> None:
    """Without pip: Debian's plain python3 could not put it there."""
    if (
        PYTHON.exists()
        and not run(PYTHON, "-c", "import sys; sys.exit(sys.version_info < (3, 11))").returncode
    ):
        return
    print(f"setup: making .venv with Python {platform.python_version()}", flush=True)
    checked("making .venv", sys.executable, "-m", "venv", "--clear", "--without-pip", VENV)


def locked_uv() -> tuple[str, list[File]]:
    lock = tomllib.loads((ROOT / "uv.lock").read_text("utf-8"))
    package = next(one for one in lock["package"] if one["name"] == "uv")
    return package["version"], package["wheels"]


def has_uv(version: str) -> bool:
    return UV.exists() and run(UV, "--version").stdout.split()[1:2] == [version]


def get_uv(version: str, wheels: list[File]) -> None:
    """By this Python's pip, which knows the machine's index, else by pip in .venv, else from PyPI itself."""
    print(f"setup: getting uv {version}", flush=True)
    with tempfile.TemporaryDirectory() as folder:
        wanted = Path(folder, "uv.txt")
        hashes = " ".join(f"--hash={wheel['hash']}" for wheel in wheels)
        wanted.write_text(f"uv=={version} {hashes}\n", "utf-8")
        options = ["install", "--quiet", "--no-deps", "--only-binary=:all:", "--require-hashes", "-r", wanted]
        said = run(sys.executable, "-m", "pip", "--python", PYTHON, *options).stdout
        if not has_uv(version) and not run(PYTHON, "-m", "ensurepip", "--default-pip").returncode:
            said = run(PYTHON, "-m", "pip", *options).stdout
        if not has_uv(version):
            try:
                unpack_uv(wheels, Path(folder))
            except OSError as error:
                reason = f"{error}\n{said.rstrip()}"
                raise SetupError(
                    f"uv {version} cannot be got, neither by pip nor from PyPI: {reason}"
                ) from None
    if not has_uv(version):
        raise SetupError(
            f"uv {version} was installed and does not run on this machine:\n{run(UV, '--version').stdout}"
        )


def unpack_uv(wheels: list[File], folder: Path) -> None:
    """uv's wheel holds the program and no Python that it needs. Raises OSError."""
    wheel = next((one for one in wheels if fits(one["url"].rpartition("/")[2])), None)
    if wheel is None:
        raise OSError(f"uv has no wheel for {platform.system()} on {platform.machine()}")
    with urllib.request.urlopen(wheel["url"], timeout=120) as answer:
        content: bytes = answer.read()
    if f"sha256:{hashlib.sha256(content).hexdigest()}" != wheel["hash"]:
        raise OSError(f"{wheel['url']} is not the file that uv.lock describes")
    archive = folder / "uv.whl"
    archive.write_bytes(content)
    with zipfile.ZipFile(archive) as members:
        program = next(name for name in members.namelist() if name.endswith("/scripts/uv"))
        UV.write_bytes(members.read(program))
    UV.chmod(0o755)


def fits(wheel: str) -> bool:
    machine = {"amd64": "x86_64", "arm64": "aarch64"}.get(
        platform.machine().lower(), platform.machine().lower()
    )
    if sys.platform == "darwin":
        return "macosx" in wheel and ("arm64" if machine == "aarch64" else machine) in wheel
    libc = "manylinux" if platform.libc_ver()[0] == "glibc" else "musllinux"
    return libc in wheel and f"{machine}." in wheel.replace(".whl", ".")


def install(group: str) -> None:
    """The group's locked packages, checked against their hashes, and ours in place."""
    print(f"setup: installing what {group} needs", flush=True)
    environment = index_settings()
    exact = VENV / f"{group}.txt"
    export = ["export", "--frozen", "--quiet", "--no-default-groups", "--no-emit-local", "--group", group]
    checked("reading uv.lock", UV, *export, "--output-file", exact, environment=environment)
    into = ["pip", "install", "--quiet", "--python", PYTHON]
    checked("installing", UV, *into, "--require-hashes", "-r", exact, environment=environment)
    if group == "test":
        in_place = [word for folder in OURS for word in ("--editable", ROOT / folder)]
        alone = ["--no-deps", "--no-build-isolation"]
        checked(f"installing {', '.join(OURS)}", UV, *into, *alone, *in_place, environment=environment)
    (VENV / f".{group}.done").write_text(fingerprint(), "utf-8")


def index_settings() -> dict[str, str]:
    """uv does not read pip's configuration. penstock has the same need for its tasks, and translates it."""
    sys.path.insert(0, str(ROOT / "core"))
    from penstock.execution.environments.pipsettings import uv_settings

    variables = dict(uv_settings(own_environment()).variables)
    links = [
        one for one in variables.get("UV_FIND_LINKS", "").split(",") if "://" in one or os.path.exists(one)
    ]
    variables["UV_FIND_LINKS"] = ",".join(links)
    return variables


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))

"""A Python environment that a task runs in: where it is, what it shows to a process, and who is using it."""

from __future__ import annotations

import fcntl
import json
import os
import re
from collections.abc import Mapping
from dataclasses import dataclass, replace
from hashlib import sha256
from pathlib import Path
from types import TracebackType
from typing import Self

from penstock.errors import TaskError
from penstock.execution.environments.bootstrap import PipInstall
from penstock.execution.environments.images import PythonChoice
from penstock.execution.environments.pipsettings import masked

STAMP = "penstock-environment.json"
"""Written into an environment as the last thing of its build; without it there is no environment."""

_HIDDEN = frozenset(
    {
        "CONDA_DEFAULT_ENV",
        "CONDA_PREFIX",
        "PIP_PREFIX",
        "PIP_PYTHON",
        "PIP_REQUIRE_VIRTUALENV",
        "PIP_ROOT",
        "PIP_TARGET",
        "PIP_USER",
        "PYTHONEXECUTABLE",
        "PYTHONHOME",
        "PYTHONPATH",
        "PYTHONPLATLIBDIR",
        "PYTHONSTARTUP",
        "PYTHONUSERBASE",
        "UV_PROJECT_ENVIRONMENT",
        "UV_PYTHON",
        "UV_SYSTEM_PYTHON",
        "VIRTUAL_ENV_PROMPT",
        "__PYVENV_LAUNCHER__",
    }
)
"""What ties a process to the caller's Python, or sends its `pip install` elsewhere."""

_PINNED_KFP = re.compile(r"there is no version of kfp==([0-9]+\.[0-9]+\.[0-9]+)")
_OLD_KFP = re.compile(r"kfp(\[[\w,-]*\])?\s*[=~]=\s*1\.")
_DUMMY_SKLEARN = re.compile(r"sklearn(?:\s*==\s*0\.0(?:\.post\d+)?)?\s*(;.*)?$", re.DOTALL)


class EnvironmentBuildError(TaskError):
    """An environment could not be made; the message carries uv's reason and where the full log is."""


class BuildCanceledError(EnvironmentBuildError):
    """The caller no longer wanted the environment."""


@dataclass(frozen=True, slots=True)
class EnvironmentRequest:
    """A Python with packages. The same installs in another order are another request, as they are for pip."""

    python: PythonChoice
    installs: tuple[PipInstall, ...] = ()

    @property
    def needs_setuptools(self) -> bool:
        """Python 3.12 dropped distutils, which packages written for the Python that it replaces may import.

        kfp 2.1 does. Images of Python before 3.12 have setuptools, those since have not.
        """
        replaced = self.python.replaces[:2]
        return bool(self.installs and replaced) and replaced < (3, 12) <= self.python.python.minor

    @property
    def key(self) -> str:
        """Names the environment: `3.11.7-<16 hex digits>`. Credentials in URLs do not count, so they may be
        renewed.
        """
        python = self.python.python
        content = [
            self.needs_setuptools,
            [python.implementation, python.version, python.platform],
            [[one.requirements, one.options] for one in self.installs],
        ]
        digest = sha256(masked(json.dumps(content)).encode()).hexdigest()
        return f"{python.version}-{digest[:16]}"


@dataclass(frozen=True, slots=True)
class Environment:
    """A finished virtual environment at `path`, shared by all who ask for the same: nothing may be installed
    into it.

    `substituted` is PythonChoice's sentence; `notes` say what else differs from the letter of the request.
    """

    path: Path
    python: Path
    bin: Path
    key: str
    python_version: str
    substituted: str = ""
    notes: tuple[str, ...] = ()

    def variables(self, base: Mapping[str, str]) -> dict[str, str]:
        """`base` as a process inside the environment should see it. The caller's index settings stay."""
        found = {name: value for name, value in base.items() if name not in _HIDDEN}
        found["PATH"] = os.pathsep.join([str(self.bin), base.get("PATH") or os.defpath])
        found["VIRTUAL_ENV"] = str(self.path)
        found["PYTHONNOUSERSITE"] = "1"
        found.setdefault("PIP_DISABLE_PIP_VERSION_CHECK", "1")
        return found

    def hold(self) -> Hold:
        """Keep it from being pruned until the hold is released or all who inherited it have ended.

        Raises EnvironmentBuildError when it was pruned since `ensure`.
        """
        hold = Hold(use_lock(self.path))
        if not (self.path / STAMP).exists():
            hold.release()
            raise EnvironmentBuildError(f"environment {self.path} was pruned just now; run the task again")
        return hold


class Hold:
    """A shared lock on an environment. `fileno()` may be passed on to a process, which then holds it too."""

    def __init__(self, file: Path) -> None:
        file.parent.mkdir(parents=True, exist_ok=True)
        self._handle = os.open(file, os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o666)
        fcntl.flock(self._handle, fcntl.LOCK_SH)

    def fileno(self) -> int:
        return self._handle

    def release(self) -> None:
        """Idempotent."""
        if self._handle >= 0:
            os.close(self._handle)
            self._handle = -1

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.release()


def use_lock(home: Path) -> Path:
    """Held shared by those who use the environment at `home`, exclusively by who removes it."""
    return home.parent / "locks" / f"{home.name}.use"


def without_dummies(installs: tuple[PipInstall, ...]) -> tuple[tuple[PipInstall, ...], tuple[str, ...]]:
    """`installs` with scikit-learn for the dummy `sklearn`, and a note if there was one.

    On PyPI `sklearn` was an empty package that depended on scikit-learn; since 2023 its build fails on
    purpose. Its own version says nothing of scikit-learn's, so it goes. Pipelines written before keep their
    meaning.
    """
    changed = tuple(
        replace(one, requirements=tuple(_DUMMY_SKLEARN.sub(_scikit_learn, word) for word in one.requirements))
        for one in installs
    )
    if changed == installs:
        return installs, ()
    note = "installed scikit-learn for sklearn, a name whose package on PyPI refuses to be installed"
    return changed, (note,)


def with_old_urllib3(installs: tuple[PipInstall, ...]) -> tuple[tuple[PipInstall, ...], tuple[str, ...]]:
    """`installs` with urllib3 1 beside kfp 1, and a note if that is one of them.

    Before 1.8.21 kfp put no limit to urllib3, but what it depends on cannot be imported with urllib3 2.
    """
    changed = tuple(
        replace(one, requirements=(*one.requirements, "urllib3<2"))
        if "--no-deps" not in one.options and any(_OLD_KFP.match(word) for word in one.requirements)
        else one
        for one in installs
    )
    if changed == installs:
        return installs, ()
    return changed, ("installed urllib3 1, because kfp 1 cannot be imported with urllib3 2",)


def with_published_kfp(
    installs: tuple[PipInstall, ...], log: str
) -> tuple[tuple[PipInstall, ...], str] | None:
    """`installs` with another patch release of kfp, and a note, where `log` says that the pinned one does not
    exist.

    Pipelines compiled by a development build, or a release that was withdrawn since, pin a kfp that no index
    has; its executor is the same within a minor version. None when the build failed of something else.
    """
    missing = next((found[1] for found in _PINNED_KFP.finditer(log)), "")
    if not missing:
        return None
    pin, range_ = f"kfp=={missing}", f"kfp~={missing}"
    changed = tuple(
        replace(one, requirements=tuple(range_ if word == pin else word for word in one.requirements))
        for one in installs
    )
    if changed == installs:
        return None
    return changed, f"installed {range_}, because the package index has no kfp {missing}"


def _scikit_learn(found: re.Match[str]) -> str:
    return f"scikit-learn{found[1] or ''}"

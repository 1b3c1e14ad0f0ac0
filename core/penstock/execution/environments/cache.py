"""The cache of Python environments: each requirement set is built once on a machine, and found again by its
key.

An environment is built where it stays, because its scripts carry absolute paths. Whoever builds holds
`locks/KEY.build` and writes the stamp last: a folder without stamp is a dead builder's and is built anew.
Locks belong to the kernel (flock), so no killed process leaves one behind; a network file system without
flock will not do.
"""

from __future__ import annotations

import fcntl
import json
import math
import os
import shutil
import time
from collections.abc import Callable, Generator, Mapping
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from pathlib import Path
from typing import cast

from penstock.execution.environments.bootstrap import PipInstall
from penstock.execution.environments.environment import (
    STAMP,
    BuildCanceledError,
    Environment,
    EnvironmentBuildError,
    EnvironmentRequest,
    use_lock,
    with_old_urllib3,
    with_published_kfp,
    without_dummies,
)
from penstock.execution.environments.images import AvailablePython
from penstock.execution.environments.pipsettings import masked
from penstock.execution.environments.pythons import installed_pythons

_SETUPTOOLS = PipInstall(("setuptools<81",))
"""The last that has pkg_resources without complaint."""

_VERSION = 1
_LOCKS = "locks"
_LOGS = "logs"
_POLL = 0.05
_LOOK_AGAIN = 1.0
_STALE = 60.0
"""Seconds between two writes of an environment's time of last use."""


@dataclass(frozen=True, slots=True)
class CachedEnvironment:
    """What `list` tells of one. `bytes` is what its files take up, those shared with uv's cache included.

    `created` and `last_used` are seconds since the epoch. `requirements` are as installed, without
    credentials.
    """

    key: str
    path: Path
    python_version: str
    requirements: tuple[str, ...]
    created: float
    last_used: float
    bytes: int
    in_use: bool


class Environments:
    """Environments below `root`. Safe for use by many threads and processes at once; nothing outside `root`
    changes.

    `variables` (default: those of the process) tell where to look for Pythons and which indexes pip and uv
    are to use. The configuration of indexes is no part of the key. With `offline` only uv's cache and local
    wheels are used.
    """

    def __init__(
        self, root: Path, *, offline: bool = False, variables: Mapping[str, str] | None = None
    ) -> None:
        self._root = Path(os.path.abspath(root))
        self._offline = offline
        self._variables = os.environ if variables is None else variables
        self._known: dict[EnvironmentRequest, tuple[Environment, float]] = {}
        self._pythons: tuple[AvailablePython, ...] = ()
        self._looked = -math.inf

    def available_pythons(self) -> tuple[AvailablePython, ...]:
        """The machine's Pythons, those in PATH first in its order; see `environments.pythons`.

        Looked up once a second: every task asks twice, and the folders of the PATH are looked at each time.
        """
        now = time.monotonic()
        if now - self._looked > _LOOK_AGAIN:
            self._pythons, self._looked = installed_pythons(self._root, self._variables), now
        return self._pythons

    def ensure(
        self,
        request: EnvironmentRequest,
        on_progress: Callable[[str], None] | None = None,
        canceled: Callable[[], bool] | None = None,
    ) -> Environment:
        """The environment of `request`, built now if it is not there. Raises EnvironmentBuildError.

        One builds, the others wait for it. `on_progress` gets the lines of the build, or one that says for
        whom this call waits. `canceled` is asked several times a second meanwhile and makes the call end with
        BuildCanceledError.
        """
        known = self._known.get(request)
        now = time.time()
        if known is not None and _is_whole(known[0]):
            if now - known[1] > _STALE:
                self._touch(request, known[0])
            return known[0]
        home = self._root / request.key
        found = self._load(request, home) or self._build(request, home, on_progress, canceled)
        self._touch(request, found)
        return found

    def prune(self, older_than: float = 0.0) -> tuple[str, ...]:
        """Remove what was not used for `older_than` seconds, with the remains of dead builders; the keys
        removed.

        What is being built or held is left alone.
        """
        removed: list[str] = []
        for home in self._homes():
            with _locked(self._build_lock(home)) as building, _locked(use_lock(home)) as using:
                if not (building and using):
                    continue
                stamp = home / STAMP
                if not stamp.exists() or time.time() - stamp.stat().st_mtime >= older_than:
                    stamp.unlink(missing_ok=True)
                    shutil.rmtree(home, ignore_errors=True)
                    self._log(home).unlink(missing_ok=True)
                    removed.append(home.name)
        return tuple(removed)

    def list(self) -> tuple[CachedEnvironment, ...]:
        """All finished environments, the longest unused first."""
        found: dict[str, CachedEnvironment] = {}
        for home in self._homes():
            with suppress(OSError, ValueError, KeyError):
                found[home.name] = _described(home)
        return tuple(sorted(found.values(), key=lambda one: one.last_used))

    def _homes(self) -> tuple[Path, ...]:
        try:
            folders = [one for one in self._root.iterdir() if one.is_dir()]
        except FileNotFoundError:
            return ()
        return tuple(sorted(one for one in folders if one.name not in (_LOCKS, _LOGS)))

    def _build_lock(self, home: Path) -> Path:
        return self._root / _LOCKS / f"{home.name}.build"

    def _log(self, home: Path) -> Path:
        return self._root / _LOGS / f"{home.name}.log"

    def _touch(self, request: EnvironmentRequest, found: Environment) -> None:
        now = time.time()
        with suppress(OSError):
            os.utime(found.path / STAMP)
        self._known[request] = (found, now)

    def _load(self, request: EnvironmentRequest, home: Path) -> Environment | None:
        try:
            stamp = cast("dict[str, object]", json.loads((home / STAMP).read_bytes()))
            if stamp["version"] != _VERSION:
                return None
            notes = tuple(cast("list[str]", stamp["notes"]))
        except (FileNotFoundError, NotADirectoryError, ValueError, KeyError, TypeError):
            return None
        found = Environment(
            path=home,
            python=home / "bin" / "python",
            bin=home / "bin",
            key=home.name,
            python_version=request.python.python.version,
            substituted=request.python.substituted,
            notes=notes,
        )
        return found if _is_whole(found) else None

    def _build(
        self,
        request: EnvironmentRequest,
        home: Path,
        on_progress: Callable[[str], None] | None,
        canceled: Callable[[], bool] | None,
    ) -> Environment:
        asked = time.time()
        log = self._log(home)
        try:
            log.parent.mkdir(parents=True, exist_ok=True)
            with self._turn(home, on_progress, canceled) as lock:
                if found := self._load(request, home):
                    return found
                self._fail_like_others(home, asked)
                try:
                    self._make(request, home, lock, on_progress, canceled)
                except BuildCanceledError:
                    raise
                except EnvironmentBuildError as error:
                    self._failure(home).write_text(json.dumps({"at": time.time(), "error": str(error)}))
                    raise
                built = self._load(request, home)
        except OSError as error:
            text = f"cannot build a Python environment in {self._root}: {error.strerror or error}"
            raise EnvironmentBuildError(text) from error
        if built is None:
            raise EnvironmentBuildError(
                f"environment {home} vanished as soon as it was built; run the task again"
            )
        return built

    def _make(
        self,
        request: EnvironmentRequest,
        home: Path,
        lock: int,
        on_progress: Callable[[str], None] | None,
        canceled: Callable[[], bool] | None,
    ) -> None:
        # Not at the top: it brings subprocess and more, which a warm start does without.
        from penstock.execution.environments.builder import Build

        if home.exists():
            shutil.rmtree(home)
        installs, notes = without_dummies(request.installs)
        installs, more = with_old_urllib3(installs)
        notes = (*notes, *more)
        if request.needs_setuptools:
            installs = (_SETUPTOOLS, *installs)
            notes = (
                *notes,
                f"installed setuptools, because Python {request.python.python.version} has no distutils",
            )
        python = request.python.python
        build = Build(
            home, python, self._variables, self._log(home), self._offline, (lock,), on_progress, canceled
        )
        try:
            try:
                build.run(installs)
            except EnvironmentBuildError:
                other = with_published_kfp(installs, self._log(home).read_text("utf-8"))
                if other is None:
                    raise
                installs, notes = other[0], (*notes, other[1])
                shutil.rmtree(home, ignore_errors=True)
                build.run(installs)
            stamp = {
                "version": _VERSION,
                "python": {"path": python.path, "version": python.version},
                "requirements": [masked(word) for one in installs for word in one.requirements],
                "notes": notes,
                "created": time.time(),
            }
            fresh = home / f"{STAMP}.tmp"
            fresh.write_text(json.dumps(stamp, indent=1))
            fresh.replace(home / STAMP)
        except BaseException:
            shutil.rmtree(home, ignore_errors=True)
            raise

    def _failure(self, home: Path) -> Path:
        return self._root / _LOGS / f"{home.name}.error"

    def _fail_like_others(self, home: Path, asked: float) -> None:
        """Whoever waited while the same build failed does not try it again."""
        with suppress(OSError, ValueError):
            failure = cast("dict[str, object]", json.loads(self._failure(home).read_bytes()))
            if cast("float", failure["at"]) >= asked:
                raise EnvironmentBuildError(cast("str", failure["error"]))

    @contextmanager
    def _turn(
        self, home: Path, on_progress: Callable[[str], None] | None, canceled: Callable[[], bool] | None
    ) -> Generator[int]:
        """Wait for the build lock; yields its descriptor."""
        file = self._build_lock(home)
        file.parent.mkdir(parents=True, exist_ok=True)
        handle = os.open(file, os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o666)
        try:
            told = False
            while not _try_lock(handle):
                if canceled is not None and canceled():
                    raise BuildCanceledError("waiting for the environment was canceled")
                if not told and on_progress is not None:
                    on_progress(f"another task builds this environment; its log is {self._log(home)}")
                told = True
                time.sleep(_POLL)
            yield handle
        finally:
            os.close(handle)


def _is_whole(found: Environment) -> bool:
    """Finished, and its interpreter (a link to the machine's) still there."""
    return os.path.exists(found.path / STAMP) and os.access(found.python, os.X_OK)


def _try_lock(handle: int) -> bool:
    try:
        fcntl.flock(handle, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except BlockingIOError:
        return False
    return True


@contextmanager
def _locked(file: Path) -> Generator[bool]:
    """Whether the lock could be had at once; it is held meanwhile."""
    file.parent.mkdir(parents=True, exist_ok=True)
    handle = os.open(file, os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o666)
    try:
        yield _try_lock(handle)
    finally:
        os.close(handle)


def _described(home: Path) -> CachedEnvironment:
    file = home / STAMP
    stamp = cast("dict[str, object]", json.loads(file.read_bytes()))
    with _locked(use_lock(home)) as free:
        in_use = not free
    return CachedEnvironment(
        key=home.name,
        path=home,
        python_version=cast("dict[str, str]", stamp["python"])["version"],
        requirements=tuple(cast("list[str]", stamp["requirements"])),
        created=cast("float", stamp["created"]),
        last_used=file.stat().st_mtime,
        bytes=sum(one.lstat().st_size for one in home.rglob("*") if not one.is_dir()),
        in_use=in_use,
    )

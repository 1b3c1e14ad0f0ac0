"""Building one environment with uv: an empty venv, pip as the Python brings it, then each install in its
order.
"""

from __future__ import annotations

import glob
import os
import re
import selectors
import signal
import subprocess
import tempfile
from collections.abc import Callable, Generator, Mapping, Sequence
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from pathlib import Path
from typing import IO

from penstock.execution.environments.bootstrap import PipInstall
from penstock.execution.environments.environment import BuildCanceledError, EnvironmentBuildError
from penstock.execution.environments.images import AvailablePython
from penstock.execution.environments.pipsettings import UvSettings, masked, uv_settings

_BOX = " \t│├╰─▶×"
_NOISE = re.compile(r"^(hint: |warning: |\[stderr\]|\[stdout\]|\^+$)")
_NOT_FOR_PIP = frozenset({"UV_CONSTRAINT", "UV_OVERRIDE", "UV_REQUIRE_HASHES", "UV_NO_BINARY"})
"""What the user's packages obey, but not the wheels of pip that the Python brings."""

_POLL = 0.1
"""Seconds between two looks at whether the build was canceled."""


def find_uv() -> str:
    """uv's program as the `uv` package brings it. Raises EnvironmentBuildError."""
    from uv import find_uv_bin

    try:
        return find_uv_bin()
    except FileNotFoundError:
        text = "uv's program is missing; reinstall it with `pip install --force-reinstall uv`"
        raise EnvironmentBuildError(text) from None


@dataclass(frozen=True, slots=True)
class Build:
    """One build at `directory`, which must not exist. uv's lines go, masked, to `log` and to `on_line`.

    `keep_open` are file descriptors that uv and all that it starts hold too: a lock among them outlives this
    process, so that nobody builds beside what it left behind. `canceled` is asked ten times a second.
    """

    directory: Path
    python: AvailablePython
    variables: Mapping[str, str]
    log: Path
    offline: bool = False
    keep_open: tuple[int, ...] = ()
    on_line: Callable[[str], None] | None = None
    canceled: Callable[[], bool] | None = None

    def run(self, installs: Sequence[PipInstall]) -> None:
        """Raises EnvironmentBuildError, and leaves what there is then to the caller."""
        os.close(os.open(self.log, os.O_WRONLY | os.O_CREAT | os.O_TRUNC, 0o600))
        bundled = bundled_wheels(self.python)
        settings = uv_settings(self.variables, offline=self.offline)
        unpinned = {name: value for name, value in settings.variables.items() if name not in _NOT_FOR_PIP}
        plain = UvSettings(unpinned)
        venv = ["venv", "--no-project", "--python", self.python.path, str(self.directory)]
        self._uv(venv if bundled else [*venv, "--seed"], plain, "an empty environment")
        if bundled:
            self._uv(self._pip(["--no-index", "--no-deps", "--offline", *bundled]), plain, "pip")
        for install in installs:
            settings = uv_settings(self.variables, install, offline=self.offline)
            what = " ".join(install.requirements)
            with _arguments(install.requirements, self.directory) as requirements:
                self._uv(self._pip(["--compile-bytecode", *settings.flags, *requirements]), settings, what)

    def _pip(self, arguments: Sequence[str]) -> list[str]:
        python = str(self.directory / "bin" / "python")
        return ["pip", "install", "--python", python, *arguments]

    def _uv(self, arguments: Sequence[str], settings: UvSettings, what: str) -> None:
        lines: list[str] = []
        with open(self.log, "a", encoding="utf-8") as log:
            log.write(masked(f"$ uv {' '.join(arguments)}\n"))

            def take(line: str) -> None:
                line = masked(line)
                lines.append(line)
                log.write(line + "\n")
                log.flush()
                if self.on_line is not None:
                    self.on_line(line)

            code = self._execute([find_uv(), *arguments], settings.variables, take)
        if code:
            reason = _reason(lines) or f"uv ended with exit code {code}"
            raise EnvironmentBuildError(
                f"cannot install {_short(masked(what), 200)} for Python {self.python.version}: "
                f"{_short(reason, 500).rstrip('.')}. The full log is {self.log}"
            )

    def _execute(
        self, command: Sequence[str], variables: Mapping[str, str], take: Callable[[str], None]
    ) -> int:
        with subprocess.Popen(
            command,
            stdin=subprocess.DEVNULL,
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
            env=dict(variables),
            cwd=self.log.parent,
            pass_fds=self.keep_open,
            start_new_session=True,
        ) as process:
            try:
                assert process.stdout is not None
                self._read(process.stdout, take)
                return process.wait()
            except BaseException:
                with suppress(ProcessLookupError):
                    os.killpg(process.pid, signal.SIGKILL)
                raise

    def _read(self, stream: IO[bytes], take: Callable[[str], None]) -> None:
        rest = b""
        with selectors.DefaultSelector() as selector:
            selector.register(stream, selectors.EVENT_READ)
            while True:
                if self.canceled is not None and self.canceled():
                    raise BuildCanceledError("building the environment was canceled")
                if not selector.select(_POLL):
                    continue
                chunk = os.read(stream.fileno(), 65536)
                *whole, rest = (rest + chunk).split(b"\n")
                for line in whole if chunk else [rest]:
                    if line.strip():
                        take(line.decode(errors="replace").rstrip())
                if not chunk:
                    return


@contextmanager
def _arguments(requirements: Sequence[str], folder: Path) -> Generator[list[str]]:
    """Requirements as arguments; those with credentials in a file of `folder` that only the user can read."""
    plain = [one for one in requirements if masked(one) == one]
    secret = [one for one in requirements if masked(one) != one]
    if not secret:
        yield ["--", *plain]
        return
    handle, file = tempfile.mkstemp(prefix="requirements-", suffix=".txt", dir=folder)
    try:
        with os.fdopen(handle, "w", encoding="utf-8") as stream:
            stream.write("\n".join(secret) + "\n")
        yield ["-r", file, *(["--", *plain] if plain else [])]
    finally:
        os.unlink(file)


def bundled_wheels(python: AvailablePython) -> list[str]:
    """pip (before Python 3.12 setuptools too) as `python` brings them for ensurepip; empty where it has none.

    They need no network and are what the `python` images of the same age hold; newer setuptools has no
    pkg_resources, which old releases of kfp import. Debian keeps them in a folder of its own.
    """
    minor = ".".join(str(part) for part in python.minor)
    prefix = Path(python.path).resolve().parent.parent
    own = glob.glob(str(prefix / "lib" / f"python{minor}" / "ensurepip" / "_bundled" / "*.whl"))
    found = own or (glob.glob("/usr/share/python-wheels/*.whl") if str(prefix) == "/usr" else [])
    names = ("pip", "setuptools") if python.minor < (3, 12) else ("pip",)
    wheels = [
        max((one for one in found if Path(one).name.startswith(f"{name}-")), default="") for name in names
    ]
    return wheels if all(wheels) else []


def _reason(lines: Sequence[str]) -> str:
    """uv's last error: `error: …`, or `× …` as older releases write, with the end of what it says of the
    cause.

    A failed resolution explains itself in one sentence over several lines; a failed build ends with its own
    last line.
    """
    starts = [at for at, line in enumerate(lines) if re.match(r"\s*(error:|×)", line)]
    if not starts:
        return lines[-1].strip() if lines else ""
    block = list(lines[starts[-1] :])
    hint = next((at for at, line in enumerate(block) if line.lstrip(_BOX).startswith("hint:")), len(block))
    said = [re.sub(r"^(error|cause):\s*", "", line.strip(_BOX)) for line in block[:hint]]
    said = [line for line in said if line and not _NOISE.match(line)]
    first, rest = said[0], said[1:]
    if first.startswith("No solution found") and rest:
        return " ".join(rest)
    if not rest:
        return first
    return f"{first}: {rest[0] if first.startswith('Failed to parse') else rest[-1]}"


def _short(text: str, limit: int) -> str:
    """`text`, without its middle where it is too long."""
    return text if len(text) <= limit else f"{text[: limit // 2]} … {text[-limit // 2 :]}"

"""The process between a task that holds secrets and its log. It outlives the engine, as the task does."""

from __future__ import annotations

import fcntl
import os
import subprocess
import sys
from collections.abc import Generator
from contextlib import contextmanager, suppress
from pathlib import Path

from penstock.execution.process.attempt_folder import AttemptFolder
from penstock.execution.secrets import masker as program
from penstock.execution.secrets.masker import Masker

_PIPE_BYTES = 1 << 20
_UNSTOPPABLE = ["/bin/sh", "-c", "trap '' HUP INT TERM; exec \"$@\"", "penstock"]
"""Whoever stops the task, and be it the whole machine, lets it say its last words."""


@contextmanager
def log_filter(
    folder: AttemptFolder, log: int, masker: Masker
) -> Generator[tuple[subprocess.Popen[bytes], int]]:
    """The filter, and the descriptor to hand to the task in the place of `log`: what is written to it reaches
    the log without what is to be masked. The log stays locked until all of it is there.

    It is a named pipe in the attempt's directory, so that whoever writes to it is known for a process of the
    attempt. Raises OSError.
    """
    folder.pipe.unlink(missing_ok=True)
    os.mkfifo(folder.pipe, 0o600)
    with (
        _opened(folder.pipe, os.O_RDONLY | os.O_NONBLOCK) as reading,
        _opened(folder.pipe, os.O_WRONLY) as out,
    ):
        os.set_blocking(reading, True)
        with suppress(OSError, AttributeError):  # beyond the user's limit, or another system
            fcntl.fcntl(out, fcntl.F_SETPIPE_SZ, _PIPE_BYTES)
        fcntl.flock(log, fcntl.LOCK_EX)
        words = [sys.executable, "-I", "-S", str(Path(program.__file__).absolute()), str(reading), str(log)]
        process = subprocess.Popen(
            [*_UNSTOPPABLE, *words],
            stdin=subprocess.PIPE,
            stdout=subprocess.DEVNULL,
            stderr=subprocess.DEVNULL,
            cwd="/",
            env={},
            start_new_session=True,
            pass_fds=(reading, log),
        )
        assert process.stdin is not None
        with process.stdin as forms:
            forms.writelines(form.hex().encode() + b"\n" for form in masker.forms)
        yield process, out


@contextmanager
def _opened(path: Path, flags: int) -> Generator[int]:
    handle = os.open(path, flags | os.O_CLOEXEC)
    try:
        yield handle
    finally:
        os.close(handle)

"""How an attempt's process ended, in one sentence."""

from __future__ import annotations

import os
import signal
from dataclasses import dataclass
from pathlib import Path

from penstock.execution.manifest import Outcome
from penstock.execution.order import LaunchOrder
from penstock.execution.process.attempt_folder import AttemptFolder
from penstock.execution.process.log_tail import last_line
from penstock.model import Reason


@dataclass(frozen=True, slots=True)
class Ending:
    outcome: Outcome
    reason: Reason | None = None
    error: str = ""


def ending(order: LaunchOrder, folder: AttemptFolder, code: int | None, program: str) -> Ending:
    """`code` is as a shell gives it: 128 + n for signal n; None when the process left none.

    A shell's script that ends with such a code by itself cannot be told from one that was killed.
    """
    stopped = folder.stopped
    task = f"task '{order.task_name}'"
    if stopped is Outcome.CANCELED:
        return Ending(Outcome.CANCELED, Reason.CANCELED, f"{task} was canceled")
    if stopped is Outcome.FAILED:
        limit = f"{order.timeout:g}" if order.timeout is not None else "some"
        return Ending(
            Outcome.FAILED,
            Reason.DEADLINE,
            f"{task} was stopped after {limit} seconds, the time it is allowed",
        )
    if code is None:
        return Ending(Outcome.LOST, Reason.LOST, f"{task} was killed from outside, or its machine went down")
    if code == 0:
        return Ending(Outcome.SUCCEEDED)
    return Ending(Outcome.FAILED, Reason.EXIT_CODE, _failed(task, folder, code, program))


def disk_is_full(folder: Path) -> bool:
    try:
        found = os.statvfs(folder)
    except OSError:
        return False
    return found.f_blocks > 0 and (found.f_bavail == 0 or (found.f_files > 0 and found.f_ffree == 0))


def _failed(task: str, folder: AttemptFolder, code: int, program: str) -> str:
    last = last_line(folder.log)
    said = f": {last}" if last else "; its log does not say why"
    if disk_is_full(folder.path):
        where = str(folder.path)
        return f"{task} failed (exit code {code}), and the disk that holds {where!r} is full; free some space"
    if code > 128 and (name := _signal_name(code - 128)):
        hint = ": out of memory?" if code == 128 + signal.SIGKILL else said
        return f"{task} was killed by {name} (exit code {code}){hint}"
    if code == 127:
        return f"{task} needs a program that was not found on this machine (exit code 127){said}"
    if code == 126:
        return f"{task} needs a program that cannot be executed, such as {program!r} (exit code 126){said}"
    return f"{task} ended with exit code {code}{said}"


def _signal_name(number: int) -> str:
    try:
        return signal.Signals(number).name
    except ValueError:
        return ""

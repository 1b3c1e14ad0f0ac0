"""What else the machine does meanwhile: figures of a busy machine are to be known as such."""

from __future__ import annotations

import os
import resource
import time
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

_QUIET = 0.15
_LOOK_SECONDS = 5.0


@dataclass(frozen=True, slots=True)
class _Moment:
    """Processor seconds so far, of everybody and of this process with its ended children, and the time."""

    everybody: float
    ours: float
    at: float


class Others:
    """The share of all processors that other processes use; 0 where there is no /proc/stat to tell."""

    def __init__(self) -> None:
        self._start = _moment()

    def share(self) -> float:
        """Since this was made, from 0 to 1. Children count as ours from when they have ended."""
        now = _moment()
        theirs = (now.everybody - self._start.everybody) - (now.ours - self._start.ours)
        available = (now.at - self._start.at) * (os.cpu_count() or 1)
        return min(1.0, max(0.0, theirs / available)) if available else 0.0


def await_quiet(patience: float, tell: Callable[[str], None]) -> None:
    """Until others leave the processors alone, or `patience` seconds have passed."""
    until = time.monotonic() + patience
    told = False
    while True:
        others = Others()
        time.sleep(_LOOK_SECONDS)
        share = others.share()
        if share <= _QUIET or time.monotonic() >= until:
            return
        if not told:
            tell(f"others use {share:.0%} of the processors; waiting up to {patience:.0f} s for them")
            told = True


def processor_seconds() -> float:
    """Of everybody on this machine so far; of this process, where there is no /proc/stat to tell."""
    return _moment().everybody


def _moment() -> _Moment:
    own, children = (resource.getrusage(who) for who in (resource.RUSAGE_SELF, resource.RUSAGE_CHILDREN))
    ours = own.ru_utime + own.ru_stime + children.ru_utime + children.ru_stime
    return _Moment(_everybody(ours), ours, time.monotonic())


def _everybody(unknown: float) -> float:
    try:
        line = Path("/proc/stat").read_text().split("\n", 1)[0]
    except OSError:
        return unknown
    # user nice system idle iowait irq softirq steal
    fields = [int(one) for one in line.split()[1:9]]
    return (sum(fields) - fields[3] - fields[4]) / os.sysconf("SC_CLK_TCK")

"""A database that is away: how long it is waited for, and who is told."""

from __future__ import annotations

import logging
import threading
import time
from collections.abc import Callable, Generator
from contextlib import contextmanager
from dataclasses import dataclass

from penstock.errors import StoreAwayError

PATIENCE = 60.0
"""Seconds that a database which has answered before is waited for."""

_FIRST_PAUSE, _LONGEST_PAUSE = 0.05, 1.0

logger = logging.getLogger(__name__)


@dataclass(frozen=True, slots=True)
class Waiting:
    """How a thread waits: until the monotonic time that `until` gives, which may change meanwhile.

    `tell` hears of an absence that the first new try does not end, and of its end; `pause` lets seconds pass.
    """

    until: Callable[[], float]
    tell: Callable[[str], None] = logger.warning
    pause: Callable[[float], None] = time.sleep


class _Missed(threading.local):
    """`since` is the monotonic time at which this thread missed the database; `told`: somebody knows."""

    since: float | None = None
    pause: float = _FIRST_PAUSE
    told: bool = False
    waiting: Waiting | None = None


class Absence:
    """Threads that have nothing said about it wait for `patience` seconds."""

    def __init__(self) -> None:
        self.patience = 0.0
        self._missed = _Missed()

    @contextmanager
    def waiting(self, waiting: Waiting) -> Generator[None]:
        """Within, this thread waits in that way."""
        former, self._missed.waiting = self._missed.waiting, waiting
        try:
            yield
        finally:
            self._missed.waiting = former

    def wait(self, error: StoreAwayError) -> None:
        """Come back when it is time for another try. Raises the error when patience is at its end."""
        missed, now = self._missed, time.monotonic()
        first = missed.since is None
        since = missed.since = missed.since if missed.since is not None else now
        waiting = missed.waiting or Waiting(lambda: since + self.patience)
        left = waiting.until() - now
        if left <= 0:
            self._forget()
            raise error
        if not first and not missed.told:
            missed.told = True
            waiting.tell(f"{error.problem}; trying again until it answers")
        pause = min(missed.pause, left)
        missed.pause = min(missed.pause * 2, _LONGEST_PAUSE)
        waiting.pause(pause)

    def over(self) -> None:
        """The database has answered."""
        missed = self._missed
        if missed.since is None:
            return
        took, told = time.monotonic() - missed.since, missed.told
        self._forget()
        if told:
            tell = missed.waiting.tell if missed.waiting is not None else logger.warning
            tell(f"the database answers again, after {took:.0f} s")

    def _forget(self) -> None:
        self._missed.since, self._missed.pause, self._missed.told = None, _FIRST_PAUSE, False

"""A database that is away: how long it is waited for, and who is told."""

from __future__ import annotations

import logging
import threading
import time
from collections.abc import Callable

from penstock.errors import StoreAwayError

PATIENCE = 60.0
"""Seconds that a database which has answered before is waited for."""

_FIRST_PAUSE, _LONGEST_PAUSE = 0.05, 1.0

logger = logging.getLogger(__name__)


class _Waiting(threading.local):
    """This thread's. `since` is a monotonic time; `told`: somebody knows of it."""

    since: float | None = None
    pause: float = _FIRST_PAUSE
    told: bool = False


class Absence:
    """Waiting ends at the monotonic time that `until` gives or, without it, `patience` seconds after the
    database was missed. `tell` hears of an absence that the first new try does not end, and of its end;
    `pause` lets time pass.
    """

    def __init__(self) -> None:
        self.patience = 0.0
        self.until: Callable[[], float] | None = None
        self.tell: Callable[[str], None] = logger.warning
        self.pause: Callable[[float], None] = time.sleep
        self._waiting = _Waiting()

    def wait(self, error: StoreAwayError) -> None:
        """Come back when it is time for another try. Raises the error when patience is at its end."""
        waiting, now = self._waiting, time.monotonic()
        first = waiting.since is None
        since = waiting.since = waiting.since if waiting.since is not None else now
        end = self.until() if self.until is not None else since + self.patience
        if now >= end:
            self._forget()
            raise error
        if not first and not waiting.told:
            waiting.told = True
            self.tell(f"{error.problem}; trying again until it answers")
        pause = min(waiting.pause, end - now)
        waiting.pause = min(waiting.pause * 2, _LONGEST_PAUSE)
        self.pause(pause)

    def over(self) -> None:
        """The database has answered."""
        since, told = self._waiting.since, self._waiting.told
        if since is not None:
            self._forget()
            if told:
                self.tell(f"the database answers again, after {time.monotonic() - since:.0f} s")

    def _forget(self) -> None:
        self._waiting.since, self._waiting.pause, self._waiting.told = None, _FIRST_PAUSE, False

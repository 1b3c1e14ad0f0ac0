"""Telling workers that runs are due: at once; and again of those that a watcher finds late, soon at first,
then seldom, so that a queue that nobody serves does not fill up.
"""

from __future__ import annotations

import time
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from typing import Final

from penstock.store import Store
from penstock.store.agenda import Appointment
from penstock_workers.engine.broker import Broker

LONGEST_SECONDS: Final = 60.0
_SAME_SECONDS: Final = 0.5


def hurry(store: Store, broker: Broker, run_id: str, seconds: float = 0.0) -> None:
    """Have the run looked at in `seconds`, if it is on the agenda: a hint that may be lost."""
    found = store.agenda.get(run_id)
    if found is not None:
        broker.hurry(run_id, found.queue, found.priority, seconds)


@dataclass(frozen=True, slots=True)
class _Reminder:
    """Of a step that has been due since `due`; sent at `sent`. By the clock of this process."""

    due: float
    sent: float


class Reminders:
    """Those that one watcher has sent. `shortest` is the pause after the first, in seconds."""

    def __init__(self, shortest: float, clock: Callable[[], float] = time.monotonic) -> None:
        self._shortest = shortest
        self._clock = clock
        self._last: dict[str, _Reminder] = {}

    def wanted(self, late: Sequence[Appointment]) -> Iterator[Appointment]:
        """Of all that are late, those that a reminder is to be sent of now; whoever asks for the next has
        sent it. After each the pause is as long as the step had been due by then.
        """
        self._last = {one.run_id: self._last[one.run_id] for one in late if one.run_id in self._last}
        for one in late:
            now = self._clock()
            due, last = now - one.late, self._last.get(one.run_id)
            if last is not None and abs(last.due - due) < _SAME_SECONDS:
                pause = min(LONGEST_SECONDS, max(self._shortest, last.sent - last.due))
                if now - last.sent < pause:
                    continue
                due = last.due
            yield one
            self._last[one.run_id] = _Reminder(due, now)

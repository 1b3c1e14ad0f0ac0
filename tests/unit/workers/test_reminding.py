"""How often a watcher reminds workers of a run that is due."""

from __future__ import annotations

from dataclasses import replace

from penstock.store.agenda import Appointment
from penstock_workers.engine.reminding import Reminders

RUN = Appointment("run", "celery", "", 0)


class Clock:
    def __init__(self) -> None:
        self.now = 1000.0

    def __call__(self) -> float:
        return self.now


def sent(reminders: Reminders, clock: Clock, until: float, due: float = 0.0) -> list[float]:
    """When reminders are sent of a step that is due at `due`, in seconds from 1000, each half second."""
    found: list[float] = []
    while clock.now < 1000.0 + until:
        clock.now += 0.5
        late = clock.now - 1000.0 - due
        if late >= 1.0:
            found += [late for _ in reminders.wanted([replace(RUN, late=late)])]
    return found


def test_a_run_that_nobody_takes_is_told_of_less_and_less_often() -> None:
    clock = Clock()

    found = sent(Reminders(1.0, clock), clock, 300.0)

    assert found == [1.0, 2.0, 4.0, 8.0, 16.0, 32.0, 64.0, 124.0, 184.0, 244.0]


def test_each_step_is_told_of_soon() -> None:
    clock = Clock()
    reminders = Reminders(1.0, clock)
    assert sent(reminders, clock, 100.0)[-1] == 64.0

    assert sent(reminders, clock, 105.0, due=100.0)[0] == 1.0


def test_what_could_not_be_sent_is_tried_again_at_once() -> None:
    clock = Clock()
    reminders = Reminders(1.0, clock)
    late = [replace(RUN, late=1.0)]
    assert next(reminders.wanted(late)).run_id == "run"

    assert [one.run_id for one in reminders.wanted(late)] == ["run"]
    assert list(reminders.wanted(late)) == []


def test_a_run_that_is_not_late_any_more_is_forgotten() -> None:
    clock = Clock()
    reminders = Reminders(1.0, clock)
    late = [replace(RUN, late=1.0)]
    assert len(list(reminders.wanted(late))) == 1
    assert list(reminders.wanted([])) == []

    assert len(list(reminders.wanted(late))) == 1

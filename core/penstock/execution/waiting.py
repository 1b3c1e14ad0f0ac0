"""What a task waits for: a worker, a step, room among the others, or what its launcher says."""

from __future__ import annotations

from penstock.execution.session import Session
from penstock.store import Store
from penstock.store.agenda import Appointment

_LATE_SECONDS = 5.0
"""A run that is due for longer is one that no worker is there for."""


def running(store: Store, session: Session, path: str) -> str:
    """Of a task that has an attempt."""
    found = next((one for one in store.launches.open(session.run.id) if one.path == path), None)
    if found is None:
        return f"task '{path}' is RUNNING"
    if found.saw is not None:
        return f"task '{path}' has ended, and a worker is to record it{_trouble(_planned(store, session))}"
    if found.waits_for:
        return f"task '{path}' waits: {found.waits_for}"
    if not found.started:
        return f"task '{path}' is about to be started{_trouble(_planned(store, session))}"
    return f"task '{path}' is RUNNING"


def ready(store: Store, session: Session, path: str) -> str:
    """Of a task that could be started."""
    planned = _planned(store, session)
    if planned is None:
        engine = f"`penstock runs resume {session.run.id}`"
        return f"task '{path}' is ready and waits for a free slot, or for an engine: {engine}"
    if trouble := _trouble(planned):
        return f"task '{path}' is ready{trouble}"
    many = len(store.launches.open(session.run.id))
    if many:
        return f"task '{path}' is ready and waits for room: {many} attempts of its run are under way"
    return f"task '{path}' is ready and waits for room: as many pods as max_pods allows belong to other runs"


def not_begun(store: Store, session: Session, path: str) -> str:
    """Of a task whose run has not started."""
    return f"task '{path}' is not reached yet: the run has not started{_trouble(_planned(store, session))}"


def _planned(store: Store, session: Session) -> Appointment | None:
    return store.agenda.get(session.run.id)


def _trouble(planned: Appointment | None) -> str:
    """Why no worker is at the run, as the end of a sentence."""
    if planned is None:
        return ""
    if planned.error:
        times = f" ({planned.failures} times)" if planned.failures > 1 else ""
        return f"; the last step of its run failed{times}: {planned.error}"
    if planned.late > _LATE_SECONDS:
        queue = f"queue '{planned.queue}'" if planned.queue else "the default queue"
        return f"; its run waits in {queue} for a `penstock worker`, since {planned.late:.0f} s"
    return ""

"""Named points at which a test can have the process killed, as if the machine had gone down there.

`PENSTOCK_FAILPOINT=manifest.written` kills this process with SIGKILL when it first gets there, and
`PENSTOCK_FAILPOINT=manifest.written:3` at the third time. Unset, which is read once, a failpoint costs a
comparison.
"""

from __future__ import annotations

import os
import signal
import threading
from typing import Final

from penstock.errors import InvalidInputError

NAMES: Final = (
    "run.claimed",
    "run.begun",
    "prepare.recorded",
    "prepare.cached",
    "prepare.claimed",
    "attempt.created",
    "attempt.started",
    "attempt.ended",
    "artifact.uploaded",
    "artifact.stored",
    "manifest.before",
    "manifest.written",
    "engine.attempt_ended",
    "publish.before",
    "publish.inside",
    "publish.after",
    "cancel.recorded",
    "run.ended",
    "tracking.created",
    "tracking.delivered",
)
"""In the order of a run's life. An engine has the run's lease; the run is open; a nested pipeline is opened,
or a task without attempt recorded; a task is served from the cache. An attempt is claimed in the store; its
directory exists; its process runs; its process has ended and nothing is staged out; one of its artifacts
has been read to the end, and nobody can see it; it is stored; all are, but there is no manifest; the
manifest is there; the engine has it; publishing begins; is inside its transaction; is over. A request to
cancel is recorded and nothing stopped; the run has ended and the lease is not handed back. MLflow has made
a run that nobody here knows of yet; it has all of a task, and that is not marked."""

REMOVAL: Final = ("removal.marked", "removal.purged", "removal.deleted", "removal.finished")
"""On the way of runs out of the record: some are marked; a page of their records is gone; the content of one
is deleted; a page of contents is, and the record says so."""

VARIABLE: Final = "PENSTOCK_FAILPOINT"


def armed() -> tuple[str, int] | None:
    """What the environment asks for. Raises InvalidInputError for a name that nothing would ever reach."""
    text = os.environ.get(VARIABLE, "")
    if not text:
        return None
    name, _, nth = text.partition(":")
    known = (*NAMES, *REMOVAL)
    if name not in known or not (nth or "1").isdigit() or int(nth or 1) < 1:
        raise InvalidInputError(
            f"{VARIABLE} is {text!r}; it must be name or name:nth, with a name of: {', '.join(known)}"
        )
    return name, int(nth or 1)


_ARMED = armed()
_lock = threading.Lock()
_passed = 0


def failpoint(name: str) -> None:
    """Does not come back when this failpoint is the armed one and its turn has come."""
    if _ARMED is None or _ARMED[0] != name:
        return
    global _passed
    with _lock:
        _passed += 1
        if _passed == _ARMED[1]:
            os.kill(os.getpid(), signal.SIGKILL)

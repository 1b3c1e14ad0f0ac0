"""An engine's hold on a run."""

from __future__ import annotations

import time

from penstock.store import Store

LEASE_SECONDS = 120.0
STOP_SECONDS = 15.0
"""So long before its lease ends, an engine that cannot renew it begins to stop its tasks: whoever takes the
run over then finds none of them running.
"""


class Lease:
    """Claimed with it, and renewed from time to time, after a sixth of its `seconds`. Raises LeaseError when
    another engine has the run.
    """

    def __init__(self, store: Store, run_id: str, owner: str, seconds: float | None = None) -> None:
        self._store = store
        self._run_id = run_id
        self._seconds = LEASE_SECONDS if seconds is None else seconds
        self._asked = time.monotonic()
        self.token = store.repeat(lambda: self._claim(owner))

    @property
    def end(self) -> float:
        """The monotonic time until which the tasks may run without a renewal."""
        return self._asked + self._seconds - STOP_SECONDS

    def keep(self) -> bool:
        """Renew it if it is time to; whether it was."""
        due = time.monotonic() - self._asked > self._seconds / 6
        if due:
            self.renew()
        return due

    def renew(self) -> None:
        self._store.repeat(self._renew)

    def release(self) -> None:
        self._store.repeat(lambda: self._store.leases.release(self._run_id, self.token))

    def _claim(self, owner: str) -> int:
        asked = time.monotonic()
        token = self._store.leases.claim(self._run_id, owner, self._seconds)
        self._asked = asked
        return token

    def _renew(self) -> None:
        asked = time.monotonic()
        self._store.leases.renew(self._run_id, self.token, self._seconds)
        self._asked = asked

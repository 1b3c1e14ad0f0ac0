"""The store: everything recorded, behind one handle."""

from __future__ import annotations

import time
from collections.abc import Callable, Generator
from contextlib import AbstractContextManager, contextmanager
from types import TracebackType
from typing import Self, TypeVar

from penstock.errors import StoreAwayError
from penstock.store import migrations
from penstock.store.absence import PATIENCE, Waiting
from penstock.store.agenda import Agenda
from penstock.store.artifacts import Artifacts
from penstock.store.attempts import Attempts
from penstock.store.cache import Cache
from penstock.store.connection import Database, connect
from penstock.store.executions import Executions
from penstock.store.experiments import Experiments
from penstock.store.launches import Launches
from penstock.store.leaders import Leaders
from penstock.store.leases import Leases
from penstock.store.lineage import LineageGraph
from penstock.store.namespaces import Namespaces
from penstock.store.outbox import Outbox
from penstock.store.pipelines import Pipelines
from penstock.store.removals import Removals
from penstock.store.runs import Runs
from penstock.store.skew import skew, warning
from penstock.store.tasks import Tasks

_Answer = TypeVar("_Answer")


class Store:
    """Safe for use by any number of threads and processes at once. Each method is one transaction of its own,
    unless it is called within `transaction`, which it then joins."""

    def __init__(self, database: Database) -> None:
        self._database = database
        self.namespaces = Namespaces(database)
        self.experiments = Experiments(database, self.namespaces)
        self.pipelines = Pipelines(database, self.namespaces)
        self.agenda = Agenda(database)
        self.runs = Runs(database, self.namespaces, self.experiments, self.agenda)
        self.leases = Leases(database)
        self.tasks = Tasks(database)
        self.attempts = Attempts(database)
        self.launches = Launches(database, self.agenda)
        self.leaders = Leaders(database)
        self.artifacts = Artifacts(database, self.namespaces)
        self.executions = Executions(database)
        self.cache = Cache(database)
        self.lineage = LineageGraph(database, self.artifacts, self.runs)
        self.removals = Removals(database)
        self.outbox = Outbox(database)

    @staticmethod
    def open(url: str) -> Store:
        """The store in the database that `url` names. A file is made or brought up to date first.

        Raises InvalidInputError for a database that cannot be used or has to be upgraded, StoreAwayError for
        one that does not answer. One that has answered is waited for from then on when it goes away.
        """
        database = connect(url)
        try:
            migrations.prepare(database)
        except BaseException:
            database.close()
            raise
        database.absence.patience = PATIENCE
        return Store(database)

    @property
    def place(self) -> str:
        """The database as a person knows it, without a password."""
        return self._database.backend.place

    @contextmanager
    def transaction(self) -> Generator[None]:
        """One commit of what this thread does within: recorded whole or, on any exception, not at all."""
        with self._database.write():
            yield

    def repeat(self, act: Callable[[], _Answer]) -> _Answer:
        """What `act` answers; it is done again, whole, when the database went away within it.

        It may read, and then write in one transaction: of one that was cut short nothing is recorded. Raises
        StoreAwayError when the database stays away.
        """
        while True:
            try:
                return act()
            except StoreAwayError as error:
                if self._database.writing:
                    raise
                self._database.absence.wait(error)

    def skew_warning(self, clock: Callable[[], float] = time.time) -> str:
        """A sentence when this machine's clock and that of a database server differ too much, else empty."""
        return warning(skew(self._database, clock)) if self._database.backend.served else ""

    def waiting(self, how: Waiting) -> AbstractContextManager[None]:
        """Within, this thread waits in that way for a database that is away."""
        return self._database.absence.waiting(how)

    def close(self) -> None:
        self._database.close()

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.close()

"""The store: everything recorded, behind one handle."""

from __future__ import annotations

from collections.abc import Generator
from contextlib import contextmanager
from types import TracebackType
from typing import Self

from penstock.store import migrations
from penstock.store.artifacts import Artifacts
from penstock.store.attempts import Attempts
from penstock.store.cache import Cache
from penstock.store.connection import Database, connect
from penstock.store.executions import Executions
from penstock.store.experiments import Experiments
from penstock.store.leases import Leases
from penstock.store.lineage import LineageGraph
from penstock.store.namespaces import Namespaces
from penstock.store.outbox import Outbox
from penstock.store.pipelines import Pipelines
from penstock.store.runs import Runs
from penstock.store.tasks import Tasks


class Store:
    """Safe for use by any number of threads and processes at once. Each method is one transaction of its own,
    unless it is called within `transaction`, which it then joins."""

    def __init__(self, database: Database) -> None:
        self._database = database
        self.namespaces = Namespaces(database)
        self.experiments = Experiments(database, self.namespaces)
        self.pipelines = Pipelines(database, self.namespaces)
        self.runs = Runs(database, self.namespaces, self.experiments)
        self.leases = Leases(database)
        self.tasks = Tasks(database)
        self.attempts = Attempts(database)
        self.artifacts = Artifacts(database, self.namespaces)
        self.executions = Executions(database)
        self.cache = Cache(database)
        self.lineage = LineageGraph(database, self.artifacts)
        self.outbox = Outbox(database)

    @staticmethod
    def open(url: str) -> Store:
        """The store in the database that `url` names, made or brought up to date first.

        Raises InvalidInputError for a database that cannot be used, StoreError for one that does not answer.
        """
        database = connect(url)
        try:
            migrations.bring_up_to_date(database)
        except BaseException:
            database.close()
            raise
        return Store(database)

    @contextmanager
    def transaction(self) -> Generator[None]:
        """One commit of what this thread does within: recorded whole or, on any exception, not at all."""
        with self._database.write():
            yield

    def close(self) -> None:
        self._database.close()

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.close()

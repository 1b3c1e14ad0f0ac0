"""One store per test. The suite knows no database but through `url`: another one is one more parameter."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import pytest

from penstock.store import RunRecord, Store
from tests.unit.store.examples import new_run

DATABASES = ["sqlite"]


@pytest.fixture(params=DATABASES)
def url(request: pytest.FixtureRequest, tmp_path: Path) -> str:
    assert request.param == "sqlite"
    return f"sqlite:///{tmp_path}/penstock.db"


@pytest.fixture
def store(url: str) -> Iterator[Store]:
    with Store.open(url) as opened:
        yield opened


@pytest.fixture
def run(store: Store) -> RunRecord:
    return new_run(store)

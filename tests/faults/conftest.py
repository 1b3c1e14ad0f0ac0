from __future__ import annotations

import os
import sys
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import TypeAlias

import pytest

from penstock.model import JsonObject
from tests.faults import reliability, workload
from tests.faults.machine import Machine
from tests.faults.page import PLACE, PROPERTY, Note, page
from tests.faults.scenarios import Scenarios

Bare: TypeAlias = Callable[[JsonObject], Machine]
Record: TypeAlias = Callable[[Note], None]

FULL = os.environ.get("PENSTOCK_FULL") == "1"

_reports: list[pytest.TestReport] = []


@pytest.fixture(scope="session", autouse=True)
def linux() -> None:
    if not sys.platform.startswith("linux"):
        pytest.skip("watches files, processes and orphans in the way of Linux")


@pytest.fixture(scope="session")
def scenarios(tmp_path_factory: pytest.TempPathFactory) -> Scenarios:
    return Scenarios(tmp_path_factory.mktemp("scenarios"))


@pytest.fixture
def record(record_property: Callable[[str, object], None]) -> Record:
    """Keeps what a test killed for the page."""

    def keep(note: Note) -> None:
        record_property(PROPERTY, note.to_text())

    return keep


@pytest.fixture
def bare(tmp_path: Path) -> Iterator[Bare]:
    """A machine on which nothing ran before, for a pipeline, which is written to `pipeline.yaml`."""
    opened: list[Machine] = []

    def make(document: JsonObject) -> Machine:
        workload.write(document, tmp_path / "pipeline.yaml")
        info = document["pipelineInfo"]
        assert isinstance(info, dict)
        opened.append(Machine(tmp_path, str(info["name"])).__enter__())
        return opened[-1]

    yield make
    for machine in opened:
        machine.__exit__()


def pytest_runtest_logreport(report: pytest.TestReport) -> None:
    if FULL and "tests/faults/" in report.nodeid and (report.when == "call" or report.outcome != "passed"):
        _reports.append(report)


def pytest_sessionfinish(session: pytest.Session) -> None:
    """The page is written by the one process that hears of every test, when all of them were asked for."""
    notes: list[Note] = []
    others: list[tuple[str, str]] = []
    troubles: list[reliability.Trouble] = []
    for report in _reports:
        if "test_workers" in report.nodeid:
            told = [str(text) for name, text in report.user_properties if name == reliability.PROPERTY]
            troubles += map(reliability.Trouble.from_text, told)
            continue
        found = [Note.from_text(str(text)) for name, text in report.user_properties if name == PROPERTY]
        notes += found
        if not found and "test_checker" not in report.nodeid:
            name = report.nodeid.partition("::test_")[2].partition("[")[0]
            others.append((name.replace("_", " "), report.outcome))
    whole = not session.config.option.keyword and sum(1 for note in notes if note.group == "random") >= 20
    if whole and not hasattr(session.config, "workerinput"):
        PLACE.write_text(page(notes, others), encoding="utf-8")
    if troubles and not hasattr(session.config, "workerinput"):
        reliability.write(troubles)

"""Our own pipelines, by feature, judged as the corpus is. `make conformance` runs the long ones, and all of
them in disguise too.
"""

from __future__ import annotations

from pathlib import Path

import pytest

from tests.conformance.case import OWN, load_cases
from tests.conformance.ground import ThisMachine
from tests.conformance.trial import FULL, check_pipeline

CASES = {case.file: case for case in load_cases(OWN / "cases")}


@pytest.mark.parametrize(
    "disguised", [False, True] if FULL else [False], ids=lambda one: "disguised" if one else "plain"
)
@pytest.mark.parametrize("name", [pytest.param(name, id=name) for name in sorted(CASES)])
def test_the_pipeline_does_what_its_case_says(name: str, disguised: bool, home: Path, tmp_path: Path) -> None:
    check_pipeline(CASES[name], OWN / "pipelines" / name, disguised, tmp_path, ThisMachine(home, tmp_path))


def test_every_pipeline_has_a_case() -> None:
    assert sorted(path.name for path in (OWN / "pipelines").iterdir()) == sorted(CASES)

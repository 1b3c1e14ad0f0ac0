"""Every corpus pipeline that has a case, run embedded and judged by its case: as it is, and in disguise."""

from __future__ import annotations

from pathlib import Path

import pytest

from tests.conformance.case import load_cases
from tests.conformance.ground import ThisMachine
from tests.conformance.trial import check_pipeline

CASES = {case.file: case for case in load_cases()}
pytestmark = pytest.mark.corpus


@pytest.mark.parametrize("disguised", [False, True], ids=["plain", "disguised"])
@pytest.mark.parametrize("name", [pytest.param(name, id=name) for name in sorted(CASES)])
def test_the_pipeline_does_what_its_case_says(
    name: str, disguised: bool, corpus: Path, home: Path, tmp_path: Path
) -> None:
    check_pipeline(CASES[name], corpus / "pipelines" / name, disguised, tmp_path, ThisMachine(home, tmp_path))

"""Tutorials and how-to pages: every command runs as printed, and prints what the page says."""

from __future__ import annotations

import re
import shutil
from contextlib import ExitStack
from pathlib import Path

import pytest

from tests.integration.doc_page import ROOT, File, Page, Session, bucket_of, read_page, unlike
from tests.services import need

PAGES = sorted(
    [*(ROOT / "docs" / "tutorial").glob("*.md"), *(ROOT / "docs" / "how-to").glob("*.md"), ROOT / "README.md"]
)
UNREACHABLE = re.compile("Failed to fetch|error sending request|dns error", re.IGNORECASE)
PROGRAMS = re.compile(r"(?:^|\| ?|\$\()(jq|mkdocs)\b")


@pytest.mark.parametrize(
    "path",
    [
        pytest.param(
            path, id=path.stem, marks=[pytest.mark.service(name) for name in read_page(path).services]
        )
        for path in PAGES
    ],
)
def test_a_page_does_what_it_says(path: Path, tmp_path: Path, request: pytest.FixtureRequest) -> None:
    page = read_page(path)
    addresses = {
        address: request.getfixturevalue("empty_postgres_url") if name == "postgres" else need(name)
        for name, address in page.services.items()
    }
    with ExitStack() as opened:
        names, more = bucket_of(page, opened)
        session = Session(tmp_path, addresses={**addresses, **names}, more=more)
        opened.callback(session.close)
        check(page, session)


def check(page: Page, session: Session) -> None:
    for step in page.steps:
        if isinstance(step, File):
            session.write(step)
            continue
        for program in PROGRAMS.findall(step.text):
            if shutil.which(program) is None:
                pytest.skip(f"{program} is not on this machine")
        code, printed = session.run(step.text)
        if code and UNREACHABLE.search(printed):
            pytest.skip(f"no package index can be reached: {printed.strip().splitlines()[-1]}")
        place = f"{page.path.name}:{step.line}: $ {step.text}"
        assert code == step.exit_code, f"{place}\nended with {code}, not {step.exit_code}:\n{printed}"
        missing = unlike(step.expected, printed)
        assert not missing, f"{place}\ndid not print\n" + "\n".join(missing) + f"\nbut\n{printed}"


def test_there_are_pages_and_a_block_that_is_not_run_says_why() -> None:
    assert len(PAGES) > 5
    for path in PAGES:
        assert all(read_page(path).not_run), path


@pytest.mark.parametrize(
    ("expected", "printed"),
    [
        ("run 01a1fe04-…-81e780fc SUCCEEDED", "run 01a1fe05-eef7-7d52-b803-b1848c3dfc30 SUCCEEDED"),
        ("12:11:31 train SUCCEEDED in 1.0s", "12:59:00 train SUCCEEDED in 2m05s"),
        ("81e780fc  iris", "107dd992       iris   Default"),
        ("  /home/you/.penstock/artifacts/…/model", "x"),
    ],
)
def test_what_differs_from_run_to_run_may_differ(expected: str, printed: str) -> None:
    if expected.strip().startswith("/home"):
        assert unlike((expected,), printed) == [expected]
    else:
        assert unlike((expected,), printed) == []


def test_a_changed_word_is_noticed() -> None:
    assert unlike(("train FAILED in 1.0s",), "train SUCCEEDED in 1.0s") == ["train FAILED in 1.0s"]

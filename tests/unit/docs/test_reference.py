"""The reference pages name everything that there is."""

from __future__ import annotations

import inspect
import re
import runpy
from pathlib import Path

import pytest

import penstock
from penstock.execution.manifest import Outcome, OutputManifest
from penstock.execution.settings import SETTINGS, Setting
from penstock.model import Reason, State

ROOT = Path(__file__).resolve().parents[3]
REFERENCE = ROOT / "docs" / "reference"
GENERATED = ("conformance.md", "benchmarks.md", "faults.md")
LINKING = [*sorted((ROOT / "docs").rglob("*.md")), ROOT / "README.md", ROOT / "CONTRIBUTING.md"]


def page(name: str) -> str:
    return (REFERENCE / name).read_text(encoding="utf-8")


def test_the_page_of_the_command_line_is_what_the_commands_say() -> None:
    generator = runpy.run_path(str(ROOT / "scripts" / "cli_reference.py"))
    assert page("cli.md") == generator["markdown"](), "run: python scripts/cli_reference.py"


@pytest.mark.parametrize("setting", SETTINGS, ids=lambda setting: setting.name)
def test_every_setting_has_its_row_with_its_default(setting: Setting) -> None:
    rows = [line for line in page("settings.md").splitlines() if line.startswith(f"| `{setting.variable}` |")]
    assert len(rows) == 1
    assert setting.default in rows[0]


def test_no_row_is_of_a_setting_that_is_gone() -> None:
    named = set(re.findall(r"^\| `([A-Z0-9_]+)`", page("settings.md"), re.MULTILINE))
    assert named == {setting.variable for setting in SETTINGS}


@pytest.mark.parametrize("word", [*State, *Reason])
def test_every_state_and_reason_is_explained(word: str) -> None:
    assert re.search(rf"^\| `{word}` \|", page("states-and-reasons.md"), re.MULTILINE)


def test_the_manifest_page_has_every_key() -> None:
    keys = OutputManifest("attempt", Outcome.SUCCEEDED).to_json()
    text = page("output-manifest.md")
    assert [key for key in keys if f"`{key}`" not in text] == []
    assert [outcome for outcome in Outcome if f"`{outcome}`" not in text] == []


@pytest.mark.parametrize(
    "name", [name for name in penstock.__all__ if name not in ("__version__", "Pipeline")]
)
def test_every_public_name_has_its_heading_or_row(name: str) -> None:
    assert re.search(rf"^## {name}$|^\| `{name}` \|", page("python-api.md"), re.MULTILINE)


@pytest.mark.parametrize("function", [penstock.load, penstock.run, penstock.resume, penstock.lineage])
def test_signatures_are_those_of_the_functions(function: object) -> None:
    assert callable(function)
    text = page("python-api.md").partition(f"penstock.{function.__name__}(")[2].partition(") ->")[0]
    shown = [word.strip() for word in text.replace("\n", " ").split(",") if word.strip()]
    expected: list[str] = []
    for parameter in inspect.signature(function).parameters.values():
        if parameter.kind is parameter.KEYWORD_ONLY and "*" not in expected:
            expected.append("*")
        default = "" if parameter.default is parameter.empty else f"={parameter.default!r}"
        expected.append(f"{parameter.name}{default}".replace("'", '"'))
    assert shown == expected


@pytest.mark.parametrize("path", LINKING, ids=lambda path: path.stem)
def test_every_link_leads_somewhere(path: Path) -> None:
    text = re.sub(r"```.*?```", "", path.read_text(encoding="utf-8"), flags=re.DOTALL)
    for target in re.findall(r"\]\(([^)\s]+)\)", text):
        place, _, anchor = target.partition("#")
        if "://" in target or place.rpartition("/")[2] in GENERATED:
            continue
        found = (path.parent / place) if place else path
        assert found.exists(), target
        if anchor:
            headings = re.findall(r"^#+ (.*)$", found.read_text(encoding="utf-8"), re.MULTILINE)
            assert anchor in [_anchor(one) for one in headings], target


def _anchor(heading: str) -> str:
    return re.sub(r"[^\w]+", "-", re.sub(r"[^\w\s-]", "", heading.lower()).strip())


def test_the_navigation_has_every_page() -> None:
    nav = (ROOT / "mkdocs.yml").read_text(encoding="utf-8")
    pages = [str(path.relative_to(ROOT / "docs")) for path in (ROOT / "docs").rglob("*.md")]
    assert [path for path in pages if path not in nav] == []

"""Pictures of the documentation are files beside it: a reader's browser fetches nothing from elsewhere."""

from __future__ import annotations

import re
from pathlib import Path
from xml.etree import ElementTree as ET

import pytest

DOCS = Path(__file__).resolve().parents[3] / "docs"
PAGES = sorted(DOCS.rglob("*.md"))
PICTURES = sorted((DOCS / "assets").glob("*.svg"))


@pytest.mark.parametrize("page", PAGES, ids=lambda page: page.stem)
def test_every_picture_of_a_page_is_there(page: Path) -> None:
    text = page.read_text(encoding="utf-8")

    assert [
        one for one in re.findall(r"!\[[^\]]*\]\(([^)]*)\)", text) if not (page.parent / one).is_file()
    ] == []
    assert not re.search(r"^\s*```mermaid", text, re.MULTILINE), "the theme fetches Mermaid from a CDN"


@pytest.mark.parametrize("picture", PICTURES, ids=lambda picture: picture.stem)
def test_a_picture_has_no_script_and_refers_to_nothing_outside(picture: Path) -> None:
    text = picture.read_text(encoding="utf-8")

    assert "{http://www.w3.org/2000/svg}script" not in {one.tag for one in ET.fromstring(text).iter()}
    assert re.findall(r"https?://[^\"\s]+", text) == ["http://www.w3.org/2000/svg"]
    assert "@import" not in text and set(re.findall(r"url\((.)", text)) == {"#"}
    assert "prefers-color-scheme: dark" in text


def test_there_are_pictures() -> None:
    assert {"architecture", "production"} <= {picture.stem for picture in PICTURES}

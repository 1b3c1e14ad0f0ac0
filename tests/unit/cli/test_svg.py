"""Pipelines and runs as pictures."""

from __future__ import annotations

import json
from pathlib import Path
from xml.etree import ElementTree as ET

import pytest

from penstock.cli.svg import svg
from penstock.ir import load
from tests.documents import INT, TEXT, Group, Shell, constant, given, pipeline, when, write
from tests.unit.cli.conftest import Penstock

ROOT = Path(__file__).resolve().parents[3]
NS = "{http://www.w3.org/2000/svg}"


def drawn(*tasks: Shell | Group, name: str = "small") -> ET.Element:
    return ET.fromstring(svg(load(json.dumps(pipeline(name, *tasks)))))


def texts(picture: ET.Element) -> list[str]:
    return [one.text or "" for one in picture.iter(f"{NS}text")]


def box(picture: ET.Element, title: str) -> ET.Element:
    """The rectangle around a task's name."""
    groups = [group for group in picture.iter(f"{NS}g") if group.findtext(f"{NS}text") == title]
    assert len(groups) == 1, title
    found = groups[0].find(f"{NS}rect")
    assert found is not None
    return found


def classes(picture: ET.Element, title: str) -> set[str]:
    return set(box(picture, title).attrib["class"].split())


def extent(rectangle: ET.Element) -> tuple[float, float, float, float]:
    x, y, width, height = (float(rectangle.attrib[name]) for name in ("x", "y", "width", "height"))
    return x, y, x + width, y + height


def test_each_task_stands_with_its_name_and_image_and_an_arrow_for_what_it_waits_for() -> None:
    picture = drawn(Shell("first"), Shell("second", after=["first"]), Shell("third", after=["second"]))

    assert texts(picture) == ["small", "first", "alpine", "second", "alpine", "third", "alpine"]
    assert len(picture.findall(f"{NS}path")) == 2
    tops = [extent(box(picture, name))[1] for name in ("first", "second", "third")]
    assert tops == sorted(tops)


def test_what_is_nested_lies_within_its_box() -> None:
    inner = Group("inner", [Shell("deep"), Shell("deeper", after=["deep"])])
    picture = drawn(Group("outer", [Shell("high"), inner]), Shell("after", after=["outer"]))

    for below, above in (("high", "outer"), ("inner", "outer"), ("deep", "inner"), ("deeper", "inner")):
        left, top, right, bottom = extent(box(picture, below))
        x, y, end, ground = extent(box(picture, above))
        assert x < left < right < end and y < top < bottom < ground
    assert extent(box(picture, "outer"))[3] < extent(box(picture, "after"))[1]
    assert classes(picture, "outer") == {"group"} and classes(picture, "deep") == {"task"}


def test_loops_and_conditions_say_over_what_and_when() -> None:
    condition = when("int(inputs.parameter_values['x']) > 2")
    picture = drawn(
        Group("loop", [Shell("say", inputs={"word": (TEXT, given("item"))})], items=["a", "b"]),
        Shell("maybe", inputs={"x": (INT, constant(1))}, more=condition),
        Shell("cleanup", after=["loop"], more=when("", "ALL_UPSTREAM_TASKS_COMPLETED")),
    )

    assert {"loop over 2 items", "if int(x) > 2", "runs although upstream failed"} <= set(texts(picture))
    assert classes(picture, "loop") == {"group", "loop"}
    assert classes(picture, "maybe") == {"task", "condition"}
    (arrow,) = picture.findall(f"{NS}path")
    assert arrow.attrib["class"] == "edge always"


@pytest.mark.parametrize(
    "name", ["<script>alert(1)</script>", "\"><x onload='y'", "a & b", "a>b", "&lt;", "é日本"]
)
def test_a_name_is_never_more_than_text(name: str) -> None:
    quoted = f"inputs.parameter_values['p'] == '{name}'" if "'" not in name and "\\" not in name else ""
    task = Shell(name.replace("/", "|"), inputs={"p": (TEXT, constant("a"))}, more=when(quoted))
    text = svg(load(json.dumps(pipeline(name.replace("/", "|"), task, Shell("plain")))))

    picture = ET.fromstring(text)
    assert text.isascii()
    assert {one.tag.removeprefix(NS) for one in picture.iter()} <= {
        *("svg", "title", "style", "defs", "marker", "path", "rect", "g", "text"),
    }
    assert {
        key for one in picture.iter() for key in one.attrib if key.startswith("on") or "href" in key
    } == set()
    assert texts(picture)[:2] == [name.replace("/", "|")] * 2


@pytest.mark.parametrize("character", ["\u202e", "\ufffe", "\u200b"])
def test_what_cannot_be_seen_is_seen(character: str) -> None:
    assert texts(drawn(Shell(f"a{character}b")))[1] == "a\ufffdb"


def test_nothing_is_fetched_from_elsewhere() -> None:
    text = svg(load(ROOT / "dags/pipelines/compiled/production.yaml"))

    assert "@import" not in text and "url(" not in text.replace("url(#penstock-arrow)", "")
    assert text.count("http") == text.count('xmlns="http://www.w3.org/2000/svg"') == 1
    assert "prefers-color-scheme: dark" in text


def test_long_lines_are_cut_and_told_whole_in_the_tooltip() -> None:
    name = "a-name-that-goes-on-" * 5
    picture = drawn(Shell(name), Shell("other"))

    (shown,) = [text for text in texts(picture) if text.startswith("a-name")]
    assert len(shown) == 44 and shown.endswith("…")
    assert any(one.text == f"{name}\nalpine" for one in picture.iter(f"{NS}title"))


def test_the_picture_in_the_documentation_is_what_the_command_prints() -> None:
    kept = (ROOT / "docs" / "assets" / "production.svg").read_text()

    path = "dags/pipelines/compiled/production.yaml"
    assert kept == svg(load(ROOT / path)) + "\n", f"penstock pipelines show {path} -o svg > docs/assets/…"


@pytest.fixture
def mixed(tmp_path: Path) -> Path:
    """A loop of which one iteration fails, a condition that is false, a cached task."""
    say = Shell("say", 'test "$word" != c', {"word": (TEXT, given("item"))})
    document = pipeline(
        "mixed",
        Group("loop", [say, Shell("then", after=["say"])], items=["a", "b", "c"]),
        Group(
            "never",
            [Shell("inside")],
            {"x": (INT, constant(1))},
            more=when("inputs.parameter_values['x'] > 2"),
        ),
        Shell("again", cached=True),
    )
    return write(document, tmp_path / "mixed.yaml")


def test_a_run_is_drawn_with_the_states_of_its_tasks(penstock: Penstock, mixed: Path) -> None:
    penstock("run", mixed)
    assert penstock("run", mixed, "--name", "the-second").code == 1

    picture = ET.fromstring(penstock("runs", "get", "latest", "-o", "svg").out)

    shown = texts(picture)
    assert shown[:3] == ["mixed", "run the-second", "FAILED"]
    assert any(text.startswith("FAILED in ") for text in shown)
    assert {"SUCCEEDED (cached)", "SKIPPED (condition was false)", "if x > 2"} <= set(shown)
    assert any(sorted(text.split(", ")) == ["1 FAILED", "2 SUCCEEDED"] for text in shown)
    assert any(sorted(text.split(", ")) == ["1 SKIPPED", "2 SUCCEEDED"] for text in shown)
    assert "alpine" not in shown
    colours = {name: classes(picture, name) for name in ("loop", "say", "then", "never", "inside", "again")}
    assert colours == {
        "loop": {"group", "loop", "failed"},
        "say": {"task", "failed"},
        "then": {"task", "succeeded"},
        "never": {"group", "condition", "skipped"},
        "inside": {"task", "absent"},
        "again": {"task", "succeeded"},
    }


def test_a_run_has_no_other_forms(penstock: Penstock, adding: Path) -> None:
    assert "--output is text or svg, not 'mermaid'" in penstock("runs", "get", "x", "-o", "mermaid").complaint

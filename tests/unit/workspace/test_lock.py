"""uv.lock agrees with what the projects declare, and can be used everywhere."""

from __future__ import annotations

import re
import tomllib
from typing import Any

import pytest

from tests.conftest import ROOT

LOCK = (ROOT / "uv.lock").read_text("utf-8")
WORKSPACE = tomllib.loads((ROOT / "pyproject.toml").read_text("utf-8"))
PROJECTS = {
    name: tomllib.loads((ROOT / folder / "pyproject.toml").read_text("utf-8"))["project"]
    for name, folder in (("penstock", "core"), ("penstock-workers", "workers"))
}


def locked(name: str) -> dict[str, Any]:
    return next(package for package in tomllib.loads(LOCK)["package"] if package["name"] == name)


def declared(requirements: list[str | dict[str, str]]) -> set[tuple[str, frozenset[str]]]:
    """Name with extras, and version clauses."""
    found: set[tuple[str, frozenset[str]]] = set()
    for requirement in requirements:
        if isinstance(requirement, str):
            name, rest = re.fullmatch(r"([\w.-]+(?:\[[\w,]+\])?)(.*)", requirement).groups()  # type: ignore[union-attr]
            found.add((name.lower(), frozenset(rest.replace(" ", "").split(",")) - {""}))
        else:
            found |= declared(WORKSPACE["dependency-groups"][requirement["include-group"]])
    return found


def recorded(requirements: list[dict[str, Any]]) -> set[tuple[str, frozenset[str]]]:
    return {
        (
            one["name"] + (f"[{','.join(one['extras'])}]" if one.get("extras") else ""),
            frozenset(one.get("specifier", "").split(",")) - {""},
        )
        for one in requirements
    }


@pytest.mark.parametrize("name", PROJECTS)
def test_the_lock_knows_what_each_project_declares(name: str) -> None:
    project = PROJECTS[name]
    extras = project.get("optional-dependencies", {})
    wanted = [*project["dependencies"], *(one for extra in extras.values() for one in extra)]
    assert recorded(locked(name)["metadata"]["requires-dist"]) == declared(wanted)


@pytest.mark.parametrize("group", sorted(WORKSPACE["dependency-groups"]))
def test_the_lock_knows_what_each_group_declares(group: str) -> None:
    groups = locked("penstock-workspace")["metadata"]["requires-dev"]
    assert recorded(groups[group]) == declared(WORKSPACE["dependency-groups"][group])


def test_the_lock_names_no_index_but_pypi() -> None:
    assert set(re.findall(r"https?://[^/\"]+", LOCK)) == {
        "https://pypi.org",
        "https://files.pythonhosted.org",
    }

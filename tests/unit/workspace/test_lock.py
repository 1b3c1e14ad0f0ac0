"""uv.lock agrees with what the projects declare, and can be used everywhere."""

from __future__ import annotations

import re
import tomllib
from typing import Any

import pytest

from tests.conftest import ROOT

LOCK = (ROOT / "uv.lock").read_text("utf-8")
WORKSPACE = tomllib.loads((ROOT / "pyproject.toml").read_text("utf-8"))
CORE = tomllib.loads((ROOT / "core" / "pyproject.toml").read_text("utf-8"))


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


def test_the_lock_knows_what_the_core_declares() -> None:
    assert recorded(locked("penstock")["metadata"]["requires-dist"]) == declared(
        CORE["project"]["dependencies"]
    )


@pytest.mark.parametrize("group", sorted(WORKSPACE["dependency-groups"]))
def test_the_lock_knows_what_each_group_declares(group: str) -> None:
    groups = locked("penstock-workspace")["metadata"]["requires-dev"]
    assert recorded(groups[group]) == declared(WORKSPACE["dependency-groups"][group])


def test_the_lock_names_no_index_but_pypi() -> None:
    assert set(re.findall(r"https?://[^/\"]+", LOCK)) == {
        "https://pypi.org",
        "https://files.pythonhosted.org",
    }

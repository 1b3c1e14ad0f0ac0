"""`penstock environments …`."""

from __future__ import annotations

import os
import time
from pathlib import Path

import pytest

from penstock.execution.environments import builder
from penstock.execution.environments.cache import Environments
from penstock.execution.environments.environment import STAMP, Environment, Hold, use_lock
from penstock.execution.environments.pythons import running_python
from tests.unit.cli.conftest import Penstock
from tests.unit.execution.local_index import request, wheel

pytestmark = pytest.mark.skipif(
    not builder.bundled_wheels(running_python()), reason="this Python brings no pip for ensurepip"
)


@pytest.fixture(scope="module")
def made(tmp_path_factory: pytest.TempPathFactory) -> tuple[Environment, ...]:
    """Two environments, built once; tests link to them."""
    folder = tmp_path_factory.mktemp("environments")
    wheel(folder / "links", "apple")
    variables = {
        "PATH": os.defpath,
        "HOME": str(folder),
        "PIP_CONFIG_FILE": os.devnull,
        "PIP_NO_INDEX": "1",
        "PIP_FIND_LINKS": str(folder / "links"),
        "UV_CACHE_DIR": str(folder / "uv-cache"),
    }
    environments = Environments(folder / "made", offline=True, variables=variables)
    return environments.ensure(request()), environments.ensure(request("apple"))


@pytest.fixture
def environments(
    made: tuple[Environment, ...], tmp_path: Path, monkeypatch: pytest.MonkeyPatch, home: Path
) -> Path:
    """The folder of the two; the one without packages was last used ten days ago."""
    folder = tmp_path / "environments"
    folder.mkdir()
    for age, one in zip((10 * 86400, 60), made, strict=True):
        (folder / one.key / "bin").mkdir(parents=True)
        (folder / one.key / STAMP).write_bytes((one.path / STAMP).read_bytes())
        os.utime(folder / one.key / STAMP, (time.time() - age, time.time() - age))
    monkeypatch.setenv("PENSTOCK_ENVIRONMENTS", str(folder))
    return folder


def test_each_is_listed_with_its_packages_the_longest_unused_first(
    penstock: Penstock, environments: Path, made: tuple[Environment, ...]
) -> None:
    plain, apple = made

    header, first, second = penstock("environments", "list").lines

    assert header.split() == ["ENVIRONMENT", "PYTHON", "LAST", "USED", "REQUIREMENTS"]
    assert first.split()[:2] == [plain.key, running_python().version]
    assert (second.split()[0], second.split()[-1]) == (apple.key, "apple")


def test_json_has_one_object_for_each(
    penstock: Penstock, environments: Path, made: tuple[Environment, ...]
) -> None:
    found = penstock("environments", "list", "--json").objects

    assert [set(one) for one in found] == [{"key", "python", "requirements", "last_used", "path"}] * 2
    assert [one["path"] for one in found] == [str(environments / one.key) for one in made]
    assert [one["requirements"] for one in found] == [[], ["apple"]]
    assert 9.9 * 86400 < time.time() - found[0]["last_used"] < 10.1 * 86400


def test_where_there_are_none_there_is_the_header_alone(
    penstock: Penstock, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("PENSTOCK_ENVIRONMENTS", str(tmp_path / "none"))

    assert len(penstock("environments", "list").lines) == 1
    assert penstock("environments", "list", "--json").out == ""
    assert penstock("environments", "prune").lines == ["0 environments removed"]


@pytest.mark.parametrize(
    ("age", "removed"), [("9d", 1), ("11d", 0), ("1w", 1), ("200h", 1), ("30s", 2), ("5m", 1), ("0s", 2)]
)
def test_prune_removes_what_was_not_used_for_so_long(
    penstock: Penstock, environments: Path, made: tuple[Environment, ...], age: str, removed: int
) -> None:
    answer = penstock("environments", "prune", "--older-than", age)

    assert answer.code == 0
    gone = [one.key for one in made[:removed]]
    assert sorted(answer.lines[:-1]) == sorted(f"removed {key}" for key in gone)
    assert answer.lines[-1] == f"{removed} environments removed"
    assert {one.key for one in made if (environments / one.key).exists()} == {
        one.key for one in made[removed:]
    }


def test_without_an_age_prune_removes_all_that_no_task_uses(
    penstock: Penstock, environments: Path, made: tuple[Environment, ...]
) -> None:
    used, unused = (environments / one.key for one in made)
    hold = Hold(use_lock(used))

    assert penstock("environments", "prune").lines == [f"removed {unused.name}", "1 environments removed"]
    assert used.exists() and not unused.exists()

    hold.release()
    assert penstock("environments", "prune").lines[-1] == "1 environments removed"


@pytest.mark.parametrize("age", ["30", "d", "1y", "-1d", "1.5h", ""])
def test_an_age_that_is_none_is_bad_input(penstock: Penstock, environments: Path, age: str) -> None:
    answer = penstock("environments", "prune", "--older-than", age)

    assert "s, m, h, d or w, such as 30d" in answer.complaint and f"not '{age}'" in answer.complaint
    assert len(list(environments.glob(f"*/{STAMP}"))) == 2

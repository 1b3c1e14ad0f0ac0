"""Artifacts that are given to a pipeline from outside: `-p data=path`."""

from __future__ import annotations

import os
from pathlib import Path
from typing import Any, cast

import pytest

from penstock.model import Json
from tests.documents import Shell, made_by, pipeline, write
from tests.unit.cli.conftest import Penstock


@pytest.fixture
def reading(tmp_path: Path) -> Path:
    """`read` copies what it is given, a file or a folder; `use` reads the copy. Both are cached."""
    data: dict[str, Json] = {"data": {"componentInputArtifact": "data"}}
    copy: dict[str, Json] = {"data": made_by("read", "copy")}
    read = Shell(
        "read", 'cp -r "$data" "$copy"', artifacts=data, made={"copy": "system.Dataset"}, cached=True
    )
    use = Shell("use", 'ls "$data"', artifacts=copy, after=["read"], cached=True)
    document = cast("dict[str, Any]", pipeline("reading", read, use))
    kind = {"artifactType": {"schemaTitle": "system.Dataset", "schemaVersion": "0.0.1"}}
    document["root"]["inputDefinitions"]["artifacts"] = {"data": kind}
    return write(document, tmp_path / "reading.yaml")


def cached(penstock: Penstock, document: Path, place: str | Path) -> list[bool]:
    """Whether `read` and `use` came from the cache."""
    run = penstock("run", document, "-p", f"data={place}", "--json").objects[-1]["run"]
    assert run["state"] == "SUCCEEDED", run
    return [run["tasks"][name]["cached"] for name in ("read", "use")]


def test_the_same_content_in_the_same_place_is_the_same_artifact(penstock: Penstock, reading: Path) -> None:
    data = Path("data.txt")
    data.write_text("one")
    assert cached(penstock, reading, data) == [False, False]

    data.unlink()
    data.write_text("one")

    assert cached(penstock, reading, data) == [True, True]
    assert cached(penstock, reading, data.absolute().as_uri()) == [True, True]
    (record,) = penstock("artifacts", "list", "--name", "data", "--json").objects
    assert (record["size"], record["run"]) == (3, None)


def test_other_content_of_the_same_size_and_age_is_another_artifact(
    penstock: Penstock, reading: Path
) -> None:
    data = Path("data.txt")
    data.write_text("one")
    first = data.stat()
    assert cached(penstock, reading, data) == [False, False]

    data.write_text("two")
    os.utime(data, ns=(first.st_atime_ns, first.st_mtime_ns))

    assert cached(penstock, reading, data) == [False, False]
    said = penstock("runs", "why", "latest", "read").out
    assert "it was not cached because the content of input artifact 'data' changed since run" in said
    data.write_text("one")
    assert cached(penstock, reading, data) == [True, True]


def test_the_same_content_elsewhere_is_another_artifact(penstock: Penstock, reading: Path) -> None:
    for name in ("here", "there"):
        Path(name).write_text("one")
        assert cached(penstock, reading, name) == [False, False]


def test_a_folder_is_known_by_all_that_is_in_it(penstock: Penstock, reading: Path) -> None:
    folder = Path("folder")
    (folder / "deep").mkdir(parents=True)
    (folder / "deep" / "file").write_text("one")
    assert cached(penstock, reading, folder) == [False, False]
    assert cached(penstock, reading, folder) == [True, True]

    (folder / "deep" / "file").rename(folder / "deep" / "other")

    assert cached(penstock, reading, folder) == [False, False]


def test_what_it_is_made_of_is_traced_through_all_runs(penstock: Penstock, reading: Path) -> None:
    Path("data.txt").write_text("one")
    for _ in range(2):
        cached(penstock, reading, "data.txt")
    (record,) = penstock("artifacts", "list", "--name", "data", "--json").objects

    lines = penstock("artifacts", "lineage", record["id"], "--down").lines

    assert sum(line.startswith(("├─ read of run", "└─ read of run")) for line in lines) == 2


@pytest.mark.parametrize(
    ("place", "words"),
    [
        ("nowhere", "names 'nowhere', which does not exist"),
        ("file:///nowhere/at all", "names 'file:///nowhere/at all', which does not exist"),
        ("file://elsewhere/data", "names the host 'elsewhere'"),
        ("x" * 5000, "names no artifact: "),
    ],
)
def test_a_place_with_nothing_in_it_is_refused(
    penstock: Penstock, reading: Path, home: Path, place: str, words: str
) -> None:
    assert words in penstock("run", reading, "-p", f"data={place}").complaint
    assert not (home / "penstock.db").exists()

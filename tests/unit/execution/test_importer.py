from __future__ import annotations

import hashlib
import os
from collections.abc import Mapping
from pathlib import Path

import pytest

from penstock.artifacts import uri_of
from penstock.artifacts.s3.patience import Patience
from penstock.execution.manifest import Outcome, OutputManifest
from penstock.model import ImporterExecutor, Json, ParameterType, Reason
from tests.unit.execution.launching import DATASET, launcher, order, run


@pytest.fixture
def home(tmp_path: Path) -> Path:
    return tmp_path / "home"


def imported(
    home: Path,
    uri: str | None = None,
    *,
    inputs: Mapping[str, Json] | None = None,
    metadata: Mapping[str, Json] | None = None,
) -> OutputManifest:
    executor = ImporterExecutor(DATASET, uri, None if uri is not None else "uri", metadata or {})
    return run(home, order(home, executor, inputs=inputs, output_artifacts=["artifact"]))


@pytest.mark.parametrize("form", [str, uri_of])
def test_a_local_file_is_recorded_where_it_lies(home: Path, tmp_path: Path, form: object) -> None:
    path = tmp_path / "data 1.csv"
    path.write_text("a,b\n")
    uri = str(path) if form is str else uri_of(path)
    manifest = imported(home, uri)
    (found,) = manifest.artifacts["artifact"]
    assert manifest.outcome is Outcome.SUCCEEDED
    assert (found.uri, found.type, found.size) == (uri, DATASET, 4)
    assert found.sha256 == hashlib.sha256(b"a,b\n").hexdigest()
    assert path.stat().st_mode & 0o200, "what is not ours is not made read-only"


def test_a_directory_can_be_imported(home: Path, tmp_path: Path) -> None:
    (tmp_path / "folder").mkdir()
    (tmp_path / "folder" / "x").write_text("12345")
    assert imported(home, str(tmp_path / "folder")).artifacts["artifact"][0].size == 5


def test_the_uri_may_come_from_an_input(home: Path, tmp_path: Path) -> None:
    (tmp_path / "x").touch()
    manifest = imported(home, inputs={"uri": str(tmp_path / "x")})
    assert manifest.artifacts["artifact"][0].uri == str(tmp_path / "x")


@pytest.mark.parametrize(
    "uri", ["gs://bucket/x", "s3://bucket/x", "https://host/x.csv", "oci://registry/model:1"]
)
def test_what_is_not_here_is_recorded_by_its_uri(
    home: Path, uri: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("AWS_ENDPOINT_URL_S3", "http://127.0.0.1:9")  # where nobody listens
    monkeypatch.setenv("AWS_ACCESS_KEY_ID", "a")
    monkeypatch.setenv("AWS_SECRET_ACCESS_KEY", "b")
    at_once = Patience.of(0.0)
    monkeypatch.setattr(Patience, "of", lambda seconds: at_once)
    manifest = imported(home, uri)
    (found,) = manifest.artifacts["artifact"]
    assert manifest.outcome is Outcome.SUCCEEDED
    assert (found.uri, found.size, found.sha256) == (uri, None, None)


def test_metadata_takes_placeholders_in_keys_and_values(home: Path) -> None:
    place = "{{$.inputs.parameters['x']}}"
    metadata: dict[str, Json] = {place: f"v-{place}", "list": [place, 1], "whole": place}
    manifest = imported(home, "gs://b/x", inputs={"x": 'it\'s "x"'}, metadata=metadata)
    assert manifest.artifacts["artifact"][0].metadata == {
        'it\'s "x"': 'v-it\'s "x"',
        "list": ['it\'s "x"', 1],
        "whole": 'it\'s "x"',
    }


@pytest.mark.parametrize(
    ("uri", "complaint"),
    [
        ("/no/such/file", "there is nothing at '/no/such/file'"),
        ("file:///no/such%20file", "there is nothing at '/no/such file'"),
        ("relative.csv", "relative path"),
        ("", "relative path"),
        ("/etc/../etc/passwd", r"holds '..'"),
        ("/dev/null", "character device"),
    ],
)
def test_a_uri_that_leads_nowhere_fails_the_importer(home: Path, uri: str, complaint: str) -> None:
    manifest = imported(home, uri)
    assert (manifest.outcome, manifest.reason) == (Outcome.FAILED, Reason.INPUT)
    assert manifest.error.startswith(f"importer 'train' cannot import {uri!r}: ")
    assert complaint in manifest.error


def test_an_importer_without_its_uri_is_an_error(home: Path) -> None:
    assert "was given no URI" in imported(home, inputs={}).error


def test_importing_again_gives_what_was_recorded(home: Path, tmp_path: Path) -> None:
    (tmp_path / "x").write_text("1")
    first = imported(home, str(tmp_path / "x"))
    os.unlink(tmp_path / "x")
    assert imported(home, str(tmp_path / "x")) == first


def test_an_importer_needs_no_isolation(home: Path) -> None:
    assert launcher(home).isolation(ImporterExecutor(DATASET, "gs://x"), {}) == "process:host"


def test_a_uri_of_another_type_becomes_text(home: Path) -> None:
    executor = ImporterExecutor(DATASET, None, "uri")
    manifest = run(
        home,
        order(
            home,
            executor,
            inputs={"uri": 5},
            parameters={"uri": ParameterType.NUMBER_INTEGER},
            output_artifacts=["artifact"],
        ),
    )
    assert "cannot import '5'" in manifest.error

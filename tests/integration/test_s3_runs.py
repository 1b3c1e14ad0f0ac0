"""Runs whose artifacts are in S3: what user code sees, what is recorded, what a second run finds again."""

from __future__ import annotations

import json
import os
import re
import shutil
import subprocess
import sys
import threading
import time
import urllib.request
from dataclasses import replace
from io import BytesIO
from pathlib import Path

import pytest

import penstock
from penstock.artifacts.s3.listing import LISTING
from tests.documents import Shell, made_by
from tests.integration.s3_runs import MAKE, READ, ROOT, artifact, logs, run, shells
from tests.integration.s3_service import Bucket

pytestmark = pytest.mark.service("s3")

PIPELINE = Path(__file__).with_name("s3_pipeline") / "compiled.yaml"


def test_artifacts_of_all_kinds_go_through_s3_and_user_code_sees_uris_and_paths(
    s3: Bucket, home: Path
) -> None:
    s3.admin.put_object(s3.name, "given/data", BytesIO(b"imported"), 8)
    arguments = {"place": s3.uri("given/data")}
    first = run(PIPELINE, s3, arguments)
    assert first.state == "SUCCEEDED", [task.error for task in first if task.error]

    data = artifact(first, "make", "data")
    assert data.uri.startswith(s3.uri(f"{ROOT}/objects/{first.id}/make/"))
    assert first.tasks["make"].outputs["Output"] == data.uri
    assert data.path.read_text() == "0\n1\n2"
    read = first.tasks["read"].outputs["Output"]
    model, moved = artifact(first, "rename", "model"), artifact(first, "rename", "moved")
    assert read == {
        "rows": 3,
        "metadata": {"rows": 3},
        "uri": data.uri,
        "names": ["a.txt", "link", "sub/empty", "sub/ü b+%41#.txt"],
        "link": "a.txt",
        "model": [model.uri, 3],
        "moved": [moved.uri, ["inside"]],
    }
    assert model.uri.endswith("/model.txt") and moved.uri.endswith("/moved")
    assert first.tasks["gather"].outputs["Output"] == ["s3:1", "s3:2", "s3:3"]
    assert first.tasks["double-each"].outputs["Output"] == 12
    assert first.tasks["read-imported"].outputs["Output"] == {
        "uri": s3.uri("given/data"),
        "text": "imported",
        "metadata": {"origin": "elsewhere"},
    }
    copied = artifact(first, "copy", "out")
    assert first.tasks["copy"].outputs["told"] == f"{data.uri} {copied.uri}"
    assert copied.path.read_text() == "0\n1\n2"
    folder = artifact(first, "make-folder", "folder")
    assert (folder.path / "sub" / "ü b+%41#.txt").read_text() == "sub/ü b+%41#.txt"

    again = run(PIPELINE, s3, arguments)
    anew = {task.path for task in again if task.kind in ("CONTAINER", "IMPORTER") and not task.cached}
    assert anew == {"importer"}
    assert again.tasks["read"].outputs == first.tasks["read"].outputs
    assert list(s3.store().client().uploads(s3.name, "")) == []


def test_a_task_that_fails_leaves_nothing_there(s3: Bucket, home: Path, tmp_path: Path) -> None:
    found = run(shells(tmp_path, replace(MAKE, script='echo x > "$data"; exit 3')), s3)
    assert found.state == "FAILED"
    assert s3.listed() == []


def test_a_cached_artifact_that_is_gone_is_made_again(s3: Bucket, home: Path, tmp_path: Path) -> None:
    source = shells(tmp_path, MAKE)
    first = run(source, s3)
    assert run(source, s3).tasks["make"].cached
    s3.admin.remove_object(s3.name, s3.listed()[0])
    third = run(source, s3)
    assert third.state == "SUCCEEDED" and not third.tasks["make"].cached
    assert artifact(first, "make", "data").uri != artifact(third, "make", "data").uri


def test_an_input_that_is_gone_or_changed_is_named(s3: Bucket, home: Path, tmp_path: Path) -> None:
    uri = tmp_path / "uri"
    script = f'printf %s "$0" > {uri}.part; mv {uri}.part {uri}; while [ -e {uri} ]; do sleep 0.1; done'
    pause = Shell(
        "pause",
        artifacts={"data": made_by("make", "data")},
        command=["sh", "-c", script, "{{$.inputs.artifacts['data'].uri}}"],
    )
    late = replace(READ, name="late", after=["pause"])

    def change() -> None:
        while not uri.exists():
            time.sleep(0.05)
        shutil.rmtree(home / "fetched")
        s3.admin.put_object(s3.name, uri.read_text().split("/", 3)[3], BytesIO(b"other"), 5)
        uri.unlink()

    thread = threading.Thread(target=change)
    thread.start()
    found = run(shells(tmp_path, MAKE, pause, late), s3)
    thread.join()
    assert "input artifact 'data': the content of 's3://" in found.tasks["late"].error
    assert "has changed since it was recorded" in found.tasks["late"].error


def test_what_is_read_twice_on_this_machine_is_fetched_once(s3: Bucket, home: Path, tmp_path: Path) -> None:
    readers = [replace(READ, name=f"read-{number}") for number in range(4)]
    found = run(shells(tmp_path, MAKE, *readers), s3)
    assert found.state == "SUCCEEDED"
    digest = artifact(found, "make", "data").sha256
    assert [one.name for one in (home / "fetched").iterdir() if one.name != "locks"] == [digest]


def test_a_long_transfer_is_told_of_in_the_log(
    s3: Bucket, home: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("penstock.execution.process.transfer_log.SECONDS", 0.0)
    make = replace(MAKE, script='dd if=/dev/zero of="$data" bs=1048576 count=20 2>/dev/null')
    assert run(shells(tmp_path, make, replace(READ, script='wc -c < "$data"')), s3).state == "SUCCEEDED"
    text = logs(home)
    assert "penstock: storing output 'data': 8.0 MiB of 20.0 MiB" in text
    assert "penstock: fetching input 'data': 16.0 MiB of 20.0 MiB" in text


def test_a_directory_that_is_killed_before_its_end_is_put_again(
    s3: Bucket, home: Path, tmp_path: Path
) -> None:
    make = replace(MAKE, script='mkdir "$data"; for i in 1 2 3; do echo $i > "$data/$i"; done')
    source = shells(tmp_path, make, replace(READ, script='cat "$data"/*'))
    command = [sys.executable, "-m", "penstock", "run", str(source), "--pipeline-root", s3.uri(ROOT)]
    killed = subprocess.run(
        command, env={**os.environ, "PENSTOCK_FAILPOINT": "artifact.uploaded"}, capture_output=True, text=True
    )
    assert killed.returncode == -9
    names = [key.rpartition("/")[2] for key in s3.listed()]
    assert names[0] == LISTING and set(names[1:]) <= {"1", "2", "3"}
    assert s3.store().stat(s3.uri(s3.listed()[0].rpartition("/")[0])) is None
    done = subprocess.run(
        [*command[:3], "runs", "resume", "latest"], env=os.environ, capture_output=True, text=True
    )
    assert done.returncode == 0, done.stdout + done.stderr
    assert "1\n2\n3" in logs(home)


def importing(uri: str) -> str:
    title = {"schemaTitle": "system.Dataset", "schemaVersion": "0.0.1"}
    outputs = {"artifacts": {"artifact": {"artifactType": title}}}
    task = {"componentRef": {"name": "comp"}, "taskInfo": {"name": "importer"}}
    importer = {"artifactUri": {"constant": uri}, "typeSchema": title}
    return json.dumps(
        {
            "components": {"comp": {"executorLabel": "exec", "outputDefinitions": outputs}},
            "deploymentSpec": {"executors": {"exec": {"importer": importer}}},
            "pipelineInfo": {"name": "importing"},
            "root": {"dag": {"tasks": {"importer": task}}},
            "schemaVersion": "2.1.0",
            "sdkVersion": "kfp-2.17.0",
        }
    )


def test_an_import_of_what_is_not_there_fails_and_of_what_cannot_be_seen_does_not(
    s3: Bucket, home: Path, tmp_path: Path
) -> None:
    source = tmp_path / "pipeline.yaml"
    source.write_text(importing(s3.uri("none")))
    found = run(source, s3)
    assert found.tasks["importer"].error == (
        f"importer 'importer' cannot import '{s3.uri('none')}': there is nothing"
    )
    source.write_text(importing("s3://penstock-no-such-bucket/x"))
    found = run(source, s3)
    assert found.state == "SUCCEEDED"
    assert artifact(found, "importer", "artifact").size is None


def test_the_pipelines_own_root_is_used_where_no_other_is_asked_for(
    s3: Bucket, home: Path, tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    make = replace(MAKE, cached=False)
    source = shells(tmp_path, make, defaultPipelineRoot=s3.uri("own"))
    found = penstock.run(source)
    assert artifact(found, "make", "data").uri.startswith(s3.uri("own/shells/"))
    found = run(source, s3)
    assert artifact(found, "make", "data").uri.startswith(s3.uri(ROOT))
    source = shells(tmp_path, make, defaultPipelineRoot="s3://penstock-no-such-bucket/own")
    found = penstock.run(source)
    assert artifact(found, "make", "data").uri.startswith("file://")
    assert "the pipeline's own root is not used" in caplog.text
    assert "there is no bucket 'penstock-no-such-bucket'" in caplog.text


def test_the_command_line_gets_at_content(s3: Bucket, home: Path, tmp_path: Path) -> None:
    run(shells(tmp_path, MAKE), s3)

    def penstock_(*words: str) -> str:
        done = subprocess.run(
            [sys.executable, "-m", "penstock", "artifacts", "get", "latest:make.data", *words],
            env=os.environ,
            capture_output=True,
            text=True,
        )
        assert done.returncode == 0, done.stderr
        return done.stdout.strip()

    assert Path(penstock_("--path")).read_text() == "hello"
    penstock_("--to", str(tmp_path / "copy"))
    assert (tmp_path / "copy").read_text() == "hello"
    with urllib.request.urlopen(penstock_("--url")) as answer:
        assert answer.read() == b"hello"
    assert re.search(rf"^uri +s3://{s3.name}/", penstock_(), re.MULTILINE)

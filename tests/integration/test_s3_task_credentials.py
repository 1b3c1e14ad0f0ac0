"""What a task's own code reaches S3 with."""

from __future__ import annotations

import json
import sys
from collections.abc import Mapping
from dataclasses import replace
from io import BytesIO
from pathlib import Path

import pytest

from penstock.model import Json
from tests.documents import Shell, pipeline
from tests.integration.s3_runs import MAKE, READ, artifact, logs, run, shells
from tests.integration.s3_service import Bucket

pytestmark = pytest.mark.service("s3")


@pytest.fixture(autouse=True)
def shared_tmp(monkeypatch: pytest.MonkeyPatch) -> None:
    """The interpreter of these tests, with the SDK, may lie there."""
    monkeypatch.setenv("PENSTOCK_PRIVATE_TMP", "false")


CLIENT = [sys.executable, "-c"]
PUT = """
import io, os, sys
from minio import Minio
client = Minio(
    os.environ["AWS_ENDPOINT_URL_S3"].partition("//")[2], access_key=os.environ["AWS_ACCESS_KEY_ID"],
    secret_key=os.environ["AWS_SECRET_ACCESS_KEY"], session_token=os.environ["AWS_SESSION_TOKEN"],
    region=os.environ["AWS_REGION"], secure=False,
)
bucket, _, key = sys.argv[1].partition("://")[2].partition("/")
client.put_object(bucket, key, io.BytesIO(b"direct"), 6)
if len(sys.argv) > 2:
    print(client.get_object(bucket, sys.argv[2]).read())
"""


def test_content_that_user_code_wrote_to_the_uri_itself_is_recorded(
    s3: Bucket, home: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("PENSTOCK_S3_TASK_CREDENTIALS", "sts")
    command = [*CLIENT, PUT, "{{$.outputs.artifacts['data'].uri}}"]
    make = Shell("make", made={"data": "system.Dataset"}, command=command)
    found = run(shells(tmp_path, make, READ), s3)
    assert found.state == "SUCCEEDED", [task.error for task in found if task.error]
    assert artifact(found, "make", "data").size == 6
    assert "direct" in logs(home)


def test_the_credentials_of_a_task_are_good_for_its_run_and_what_it_reads_and_nothing_else(
    s3: Bucket, home: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("PENSTOCK_S3_TASK_CREDENTIALS", "sts")
    s3.admin.put_object(s3.name, "given/data", BytesIO(b"imported"), 8)
    s3.admin.put_object(s3.name, "other/data", BytesIO(b"others'"), 7)
    inside = "{{$.pipeline_root}}/shells/{{$.pipeline_job_uuid}}/own"

    def task(name: str, *words: str) -> Shell:
        return Shell(name, command=[*CLIENT, PUT, *words], artifacts={"in": {"componentInputArtifact": "in"}})

    tasks = [
        task("within", inside, "given/data"),
        task("reads-others", inside, "other/data"),
        task("writes-elsewhere", s3.uri("given/data")),
    ]
    kind: Mapping[str, Json] = {"artifactType": {"schemaTitle": "system.Artifact", "schemaVersion": "0.0.1"}}
    document = pipeline("shells", *tasks)
    root = document["root"]
    assert isinstance(root, dict)
    root["inputDefinitions"] = {"artifacts": {"in": dict(kind)}}
    source = tmp_path / "pipeline.yaml"
    source.write_text(json.dumps(document))
    found = run(source, s3, {"in": s3.uri("given/data")})
    assert {task.path: task.state for task in found} == {
        "within": "SUCCEEDED",
        "reads-others": "FAILED",
        "writes-elsewhere": "FAILED",
    }
    assert all("AccessDenied" in found.tasks[one].error for one in ("reads-others", "writes-elsewhere"))


def test_secrets_of_a_task_are_in_its_environment_only(
    s3: Bucket, home: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("PENSTOCK_S3_TASK_CREDENTIALS", "sts")
    aside = tmp_path / "aside"
    script = f'env | grep ^AWS_ > {aside}; ps ax -o args; echo "key: $AWS_SECRET_ACCESS_KEY"'
    assert run(shells(tmp_path, replace(MAKE, script=f'{script}; echo > "$data"')), s3).state == "SUCCEEDED"
    given = dict(line.split("=", 1) for line in aside.read_text().splitlines())
    assert given["AWS_ENDPOINT_URL_S3"] == s3.endpoint
    assert given["AWS_ACCESS_KEY_ID"] != s3.access_key
    files = [path for path in home.rglob("*") if path.is_file()]
    assert files
    for name in ("AWS_SECRET_ACCESS_KEY", "AWS_SESSION_TOKEN"):
        assert [str(path) for path in files if given[name].encode() in path.read_bytes()] == []


@pytest.mark.parametrize(("kind", "key"), [("none", ""), ("inherit", "minioadmin")])
def test_a_task_gets_no_credentials_or_those_of_penstock(
    kind: str, key: str, s3: Bucket, home: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("PENSTOCK_S3_TASK_CREDENTIALS", kind)
    make = replace(MAKE, script='printf %s "$AWS_ACCESS_KEY_ID" > "$data"')
    assert artifact(run(shells(tmp_path, make), s3), "make", "data").path.read_text() == (
        s3.access_key if key else ""
    )

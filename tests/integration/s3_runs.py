"""Runs with a bucket as their root."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import penstock
from penstock import OutputArtifact, Run
from tests.documents import Shell, made_by, pipeline
from tests.integration.s3_service import Bucket

ROOT = "some root"
MAKE = Shell("make", 'printf hello > "$data"', made={"data": "system.Dataset"}, cached=True)
READ = Shell("read", 'cat "$data"', artifacts={"data": made_by("make", "data")})


def shells(folder: Path, *tasks: Shell, **more: Any) -> Path:
    path = folder / "pipeline.yaml"
    path.write_text(json.dumps({**pipeline("shells", *tasks), **more}))
    return path


def run(pipeline: Path, bucket: Bucket, arguments: dict[str, Any] | None = None) -> Run:
    return penstock.run(pipeline, arguments, pipeline_root=bucket.uri(ROOT))


def artifact(run: Run, task: str, name: str) -> OutputArtifact:
    found = run.tasks[task].outputs[name]
    assert isinstance(found, OutputArtifact)
    return found


def logs(home: Path) -> str:
    return "\n".join(path.read_text() for path in sorted(home.glob("attempts/*/*/log")))

"""A cluster whose pods reach the S3: what a test has of the two for itself."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest

from penstock.execution.settings import load_settings
from penstock.execution.workspace import Workspace
from tests.integration.s3_service import fresh_bucket
from tests.services import need

PYTHON, OTHER = "python:3.11", "docker.io/library/alpine:latest"


@contextmanager
def kubernetes_workspace(home: Path, monkeypatch: pytest.MonkeyPatch, **changes: str) -> Iterator[Workspace]:
    """A workspace of an installation of its own, in a bucket of its own."""
    monkeypatch.setenv("KUBECONFIG", need("kubernetes"))
    with fresh_bucket() as bucket:
        for name, value in bucket.variables.items():
            monkeypatch.setenv(name, value)
        settings = {
            "home": str(home),
            "launcher": "kubernetes",
            "pipeline_root": bucket.uri("root"),
            "kubernetes_pull_policy": "IfNotPresent",
            "kubernetes_image": f"docker.io/library/{PYTHON}",
            "kubernetes_pull_seconds": "5",
            "kubernetes_pending_seconds": "5",
        }
        with Workspace(load_settings({**settings, **changes})) as found:
            yield found

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.integration.penstock_process import Command
from tests.integration.s3_service import Bucket, fresh_bucket


@pytest.fixture
def penstock(home: Path, tmp_path: Path) -> Command:
    """The command, in an empty folder."""
    folder = tmp_path / "here"
    folder.mkdir()
    return Command(folder, home)


@pytest.fixture
def bucket() -> Iterator[Bucket]:
    with fresh_bucket() as bucket:
        yield bucket


@pytest.fixture
def s3(bucket: Bucket, monkeypatch: pytest.MonkeyPatch) -> Bucket:
    """The same, and the environment knows of it."""
    for name, value in bucket.variables.items():
        monkeypatch.setenv(name, value)
    return bucket

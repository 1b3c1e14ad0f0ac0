from __future__ import annotations

from collections.abc import Iterator

import pytest

from tests.integration.s3_service import Bucket, fresh_bucket


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

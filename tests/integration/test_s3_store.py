from __future__ import annotations

from collections.abc import Iterator

import pytest

from penstock.artifacts.s3.store import S3ArtifactStore
from tests.integration.s3_service import Bucket, fresh_bucket
from tests.unit.artifacts.contract import StoreContract

pytestmark = pytest.mark.service("s3")


@pytest.fixture
def bucket() -> Iterator[Bucket]:
    with fresh_bucket() as bucket:
        yield bucket


class TestS3ArtifactStore(StoreContract):
    @pytest.fixture
    def store(self, bucket: Bucket) -> S3ArtifactStore:
        return bucket.store()

    @pytest.fixture
    def base(self, bucket: Bucket) -> str:
        return bucket.uri("a store")

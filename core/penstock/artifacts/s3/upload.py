"""Files into S3: read once, hashed on the way, large ones in parts that travel side by side."""

from __future__ import annotations

import hashlib
import os
from contextlib import suppress
from dataclasses import dataclass
from io import FileIO
from pathlib import Path
from typing import BinaryIO, cast

from minio.error import MinioException, S3Error
from urllib3.exceptions import HTTPError

from penstock.artifacts.content import Content
from penstock.artifacts.s3.address import Address
from penstock.artifacts.s3.client import Client
from penstock.artifacts.s3.listing import Entry, Listing
from penstock.artifacts.s3.transfer import PARALLEL, PART_BYTES, Tally, part_size
from penstock.artifacts.side_by_side import side_by_side


@dataclass(frozen=True, slots=True)
class Upload:
    """What it raises is the SDK's, urllib3's and the operating system's."""

    client: Client
    tally: Tally

    def file(self, path: Path, bucket: str, key: str) -> tuple[int, str]:
        """(size, sha256) of what is now at `key`, whole."""
        size = os.stat(path).st_size
        if size <= PART_BYTES:
            return self._send(path, bucket, key, size)
        self.clear(bucket, key)
        try:
            return self._send(path, bucket, key, size)
        except HTTPError:
            # Nobody answers; what is left of it goes with the next upload to this place, or its removal.
            raise
        except BaseException:
            with suppress(MinioException, HTTPError):
                self.clear(bucket, key)
            raise

    def directory(self, content: Content, address: Address) -> Listing:
        """Puts its files; the listing that says what they are is yet to be put."""

        def one(name: str) -> Entry:
            return Entry(name, *self.file(content.path(name), address.bucket, address.file(name)))

        files = side_by_side(content.files, lambda name: os.stat(content.path(name)).st_size, one)
        return Listing(tuple(files), content.directories, {link.name: link.target for link in content.links})

    def clear(self, bucket: str, key: str) -> None:
        """Abort what uploads to `key` began and never ended: their parts would be kept, and paid for."""
        for found, upload in list(self.client.uploads(bucket, key)):
            if found == key:
                self.client.abort(bucket, key, upload)

    def _send(self, path: Path, bucket: str, key: str, size: int) -> tuple[int, str]:
        for last in (False, True):
            with path.open("rb", buffering=0) as source:
                reader = _Reader(source, self.tally if not last else Tally(0, None))
                try:
                    self.client.put_object(
                        bucket_name=bucket,
                        object_name=key,
                        data=cast("BinaryIO", reader),
                        length=size,
                        part_size=part_size(size),
                        num_parallel_uploads=PARALLEL,
                    )
                except S3Error as problem:
                    # The upload was ended, but its answer got lost and it was asked for again.
                    if last or problem.code != "NoSuchUpload":
                        raise
                    continue
            return size, reader.sha256
        raise AssertionError


class _Reader:
    """Hashes what the SDK reads, in the thread that reads; hashlib lets the others run meanwhile."""

    def __init__(self, source: FileIO, tally: Tally) -> None:
        self._source = source
        self._tally = tally
        self._digest = hashlib.sha256()

    @property
    def sha256(self) -> str:
        return self._digest.hexdigest()

    def read(self, size: int) -> bytes:
        data = self._source.read(size)
        self._digest.update(data)
        self._tally.add(len(data))
        return data

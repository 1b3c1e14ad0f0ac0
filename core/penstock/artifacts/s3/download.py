"""Files from S3: large ones in ranges that travel side by side, and are hashed in their order."""

from __future__ import annotations

import hashlib
import os
import time
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from pathlib import Path
from typing import Final

from urllib3.exceptions import ProtocolError, SSLError
from urllib3.exceptions import TimeoutError as SilentError

from penstock.artifacts.error import ArtifactError
from penstock.artifacts.s3.client import Client
from penstock.artifacts.s3.transfer import PARALLEL, PART_BYTES, Tally

_RANGE: Final = 4 * PART_BYTES
_CHUNK: Final = 1 << 20
_HASHED: Final = 4 * _CHUNK
"""Bytes at a time: threads wait for each other less often when each does more at once."""

_PAUSE = 0.5


@dataclass(frozen=True, slots=True)
class Source:
    """An object as it was found. While it is read it must stay what `etag` says, unless that is empty."""

    bucket: str
    key: str
    size: int
    etag: str


@dataclass(frozen=True, slots=True)
class Download:
    """What it raises is the SDK's, urllib3's and the operating system's."""

    client: Client
    tally: Tally

    def file(self, source: Source, target: Path) -> tuple[int, str]:
        """(size, sha256) of what was written to `target`, a new file in a directory that is there."""
        digest = hashlib.sha256()
        buffer = memoryview(bytearray(min(_HASHED, source.size)))
        with target.open("xb+", buffering=0) as file:

            def fetch(start: int) -> int:
                end = min(start + _RANGE, source.size)
                self._range(source, file.fileno(), start, end)
                return end

            done = 0
            for end in _in_order(range(0, source.size, _RANGE), fetch):
                # From the system's memory, where it still is.
                while done < end:
                    read = os.preadv(file.fileno(), [buffer[: end - done]], done)
                    if not read:
                        raise ArtifactError(f"{str(target)!r} was cut off by somebody else")
                    digest.update(buffer[:read])
                    done += read
        return source.size, digest.hexdigest()

    def _range(self, source: Source, handle: int, start: int, end: int) -> None:
        """Goes on where the connection broke off, as long as the client has patience."""
        since: float | None = None
        while start < end:
            try:
                for data in self._chunks(source, start, end - start):
                    _write(handle, data, start)
                    start += len(data)
                    self.tally.add(len(data))
                    since = None
            except (ProtocolError, SilentError, SSLError):
                since = time.monotonic() if since is None else since
                if time.monotonic() - since > self.client.patience:
                    raise
                time.sleep(_PAUSE)

    def _chunks(self, source: Source, offset: int, length: int) -> Iterator[bytes]:
        response = self.client.get_object(
            bucket_name=source.bucket,
            object_name=source.key,
            offset=offset,
            length=length,
            request_headers={"If-Match": f'"{source.etag}"'} if source.etag else {},
        )
        try:
            while length and (data := response.read(min(_CHUNK, length), decode_content=False)):
                yield data
                length -= len(data)
        finally:
            response.close()
            response.release_conn()
        if length:
            raise ArtifactError(f"the content of {source.key!r} has changed: {length} bytes are missing")


def _write(handle: int, data: bytes, offset: int) -> None:
    view = memoryview(data)
    while view:
        written = os.pwrite(handle, view, offset)
        offset += written
        view = view[written:]


def _in_order(starts: range, fetch: Callable[[int], int]) -> Iterator[int]:
    """What `fetch` answers for each, some of them at once."""
    if len(starts) < 2:
        yield from map(fetch, starts)
        return
    with ThreadPoolExecutor(PARALLEL, thread_name_prefix="download") as pool:
        yield from pool.map(fetch, starts)

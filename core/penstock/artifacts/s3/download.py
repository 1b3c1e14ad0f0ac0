"""Files from S3: large ones in parts that travel side by side, hashed and written in their order."""

from __future__ import annotations

import hashlib
import time
from collections import deque
from collections.abc import Iterator
from concurrent.futures import Future, ThreadPoolExecutor
from dataclasses import dataclass
from pathlib import Path

from urllib3.exceptions import ProtocolError, SSLError
from urllib3.exceptions import TimeoutError as SilentError

from penstock.artifacts.error import ArtifactError
from penstock.artifacts.s3.client import Client
from penstock.artifacts.s3.patience import SECONDS
from penstock.artifacts.s3.transfer import PARALLEL, PART_BYTES, Tally

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
        with target.open("xb", buffering=0) as file:
            for data in self._parts(source):
                digest.update(data)
                view = memoryview(data)
                while view:
                    view = view[file.write(view) :]
                self.tally.add(len(data))
        return source.size, digest.hexdigest()

    def _parts(self, source: Source) -> Iterator[bytes]:
        if source.size <= PART_BYTES:
            yield self.part(source, 0, source.size)
            return
        coming: deque[Future[bytes]] = deque()
        with ThreadPoolExecutor(PARALLEL, thread_name_prefix="download") as pool:
            try:
                for offset in range(0, source.size, PART_BYTES):
                    if len(coming) > PARALLEL:
                        yield coming.popleft().result()
                    length = min(PART_BYTES, source.size - offset)
                    coming.append(pool.submit(self.part, source, offset, length))
                while coming:
                    yield coming.popleft().result()
            finally:
                pool.shutdown(wait=False, cancel_futures=True)

    def part(self, source: Source, offset: int, length: int) -> bytes:
        """Begun anew when the connection breaks off in the middle of it, as long as patience lasts."""
        since: float | None = None
        while length:
            try:
                response = self.client.get_object(
                    bucket_name=source.bucket,
                    object_name=source.key,
                    offset=offset,
                    length=length,
                    request_headers={"If-Match": f'"{source.etag}"'} if source.etag else {},
                )
                try:
                    data = response.read(decode_content=False)
                finally:
                    response.close()
                    response.release_conn()
                if len(data) != length:
                    raise ArtifactError(
                        f"the content of {source.key!r} has changed: {len(data)} bytes where {length} were"
                    )
                return data
            except (ProtocolError, SilentError, SSLError):
                since = time.monotonic() if since is None else since
                if time.monotonic() - since > SECONDS:
                    raise
                time.sleep(_PAUSE)
        return b""

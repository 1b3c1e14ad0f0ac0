"""The SDK's client, made from our configuration, with the few calls that the SDK keeps to itself."""

from __future__ import annotations

import os
import urllib.request
from collections.abc import Iterator
from typing import Any, Final
from urllib.parse import urlsplit

import certifi
from minio import Minio
from minio.credentials.credentials import Credentials
from minio.error import S3Error
from urllib3 import PoolManager, ProxyManager, Timeout

from penstock._version import __version__
from penstock.artifacts.error import ArtifactError
from penstock.artifacts.s3.config import S3Config
from penstock.artifacts.s3.credentials import Chain, chain
from penstock.artifacts.s3.patience import SECONDS, Patience

CONNECT_SECONDS: Final = 10.0
READ_SECONDS: Final = 60.0
"""How long the service may be silent."""

_CONNECTIONS = 32
DEFAULT_REGION = "us-east-1"


class Client(Minio):
    """`chain` is where its credentials come from, `patience` the seconds that a request is repeated for while
    the service is away.
    """

    chain: Chain
    patience: float

    def uploads(self, bucket: str, prefix: str) -> Iterator[tuple[str, str]]:
        """(key, upload id) of unfinished multipart uploads; none where they may not be listed. MinIO shows
        them for a whole key only.
        """
        try:
            found = self._list_multipart_uploads(bucket_name=bucket, prefix=prefix, max_uploads=1000)
        except S3Error as problem:
            if problem.code != "AccessDenied":
                raise
            return
        for one in found.uploads:
            if one.object_name and one.upload_id:
                yield one.object_name, one.upload_id

    def begin(self, bucket: str, key: str) -> str:
        """The id of a new multipart upload."""
        return self._create_multipart_upload(bucket_name=bucket, object_name=key, headers={})

    def abort(self, bucket: str, key: str, upload: str) -> None:
        super()._abort_multipart_upload(bucket_name=bucket, object_name=key, upload_id=upload)

    def _abort_multipart_upload(self, *args: Any, **options: Any) -> None:
        """Nothing: the SDK aborts before it raises, and the error would be that of aborting. See `Upload`."""

    @property
    def credentials(self) -> Credentials | None:
        return self.chain.find()


def connect(config: S3Config, patience: float = SECONDS) -> Client:
    """Asks for credentials, which may take a moment, and otherwise sends nothing. Raises ArtifactError."""
    url = urlsplit(config.endpoint)
    host = url.netloc or ("s3.amazonaws.com.cn" if config.region.startswith("cn-") else "s3.amazonaws.com")
    secure = url.scheme != "http"
    found = chain(config)
    anonymous = found.find() is None
    try:
        client = Client(
            host,
            secure=secure,
            # A policy may forbid the question for it, which the SDK would ask first.
            region=config.region or (DEFAULT_REGION if config.endpoint else None),
            http_client=http_client(config, f"{url.scheme or 'https'}://{host}", patience),
            credentials=None if anonymous else found,
        )
    except ValueError as problem:
        raise ArtifactError(f"S3 at {config.place} cannot be used: {problem}") from problem
    client.chain = found
    client.patience = patience
    client.set_app_info("penstock", __version__)
    if config.path_style is True:
        client.disable_virtual_style_endpoint()
    elif config.path_style is False:
        client.enable_virtual_style_endpoint()
    return client


def http_client(config: S3Config, url: str, seconds: float) -> PoolManager:
    """Verifies certificates by AWS_CA_BUNDLE, SSL_CERT_FILE or what comes with certifi; goes through the
    environment's proxy.
    """
    options: dict[str, Any] = {
        "timeout": Timeout(connect=CONNECT_SECONDS, read=READ_SECONDS),
        "maxsize": _CONNECTIONS,
        "cert_reqs": "CERT_REQUIRED",
        "ca_certs": config.ca_bundle or os.environ.get("SSL_CERT_FILE") or certifi.where(),
        "retries": Patience.of(seconds),
    }
    parts = urlsplit(url)
    proxy = urllib.request.getproxies().get(parts.scheme)
    if proxy and not urllib.request.proxy_bypass(parts.netloc):
        return ProxyManager(proxy, **options)
    return PoolManager(**options)

"""PostgreSQL, MinIO and MLflow for one session's scenarios: their own, since they are stopped and killed."""

from __future__ import annotations

import os
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from io import BytesIO
from urllib.parse import urlsplit

from minio import Minio

from tests.faults.machine import Machine
from tests.faults.records import CONFIGURATION, records_of
from tests.own_server import OwnMinio, OwnMlflow, own_folder
from tests.postgres_server import PostgresServer

_CREDENTIALS = {"AWS_ACCESS_KEY_ID": "minioadmin", "AWS_SECRET_ACCESS_KEY": "minioadmin"}


@dataclass
class Servers:
    postgres: PostgresServer
    minio: OwnMinio
    mlflow: OwnMlflow
    _numbered: int = 0

    @property
    def environment(self) -> dict[str, str]:
        """What reaches the S3, in AWS's words."""
        return {"AWS_ENDPOINT_URL_S3": self.minio.url, "AWS_REGION": "us-east-1", **_CREDENTIALS}

    def start(self) -> None:
        for server in (self.postgres, self.minio):
            server.start()

    def pids(self) -> set[int]:
        return {
            pid for server in (self.postgres, self.minio, self.mlflow) if (pid := server.pid()) is not None
        }

    def stop(self) -> None:
        for server in (self.postgres, self.minio, self.mlflow):
            with suppress(AssertionError):
                server.stop()

    def configure(self, machine: Machine, *, tracked: bool = False) -> None:
        """Give the machine a database and a bucket of its own."""
        self._numbered += 1
        name = f"faults-{os.getpid()}-{self._numbered}"
        self.postgres.execute(f'CREATE DATABASE "{name}"')
        self._client().make_bucket(bucket_name=name)
        lines = [
            f'database_url = "{self.postgres.url_of(name)}"',
            f'pipeline_root = "s3://{name}/artifacts"',
        ]
        if tracked:
            lines.append(f'mlflow_tracking_uri = "{self.mlflow.url}"')
        (machine.folder / CONFIGURATION).write_text("\n".join(lines) + "\n", "utf-8")
        upgrade = machine.start("db", "upgrade")
        assert upgrade.wait() == 0, upgrade.said

    def spoil(self, machine: Machine, run_id: str) -> None:
        """Change an artifact of the run, and put an object beside it."""
        query = "SELECT uri FROM artifacts WHERE uri LIKE ? AND name = 'blob'"
        uri = urlsplit(records_of(machine.home).rows(query, f"%{run_id}%")[0]["uri"])
        key = uri.path.strip("/")
        for name in (key, f"{key}-too-many"):
            self._client().put_object(
                bucket_name=uri.netloc, object_name=name, data=BytesIO(b"spoilt"), length=6
            )

    def _client(self) -> Minio:
        return Minio(
            endpoint=self.minio.url.removeprefix("http://"),
            access_key=_CREDENTIALS["AWS_ACCESS_KEY_ID"],
            secret_key=_CREDENTIALS["AWS_SECRET_ACCESS_KEY"],
            secure=False,
        )


@contextmanager
def started() -> Iterator[Servers]:
    """MLflow takes long to start, and is started by the tests that need it."""
    with own_folder() as folder:
        servers = Servers(PostgresServer(folder), OwnMinio(folder), OwnMlflow(folder))
        try:
            servers.start()
            yield servers
        finally:
            servers.stop()

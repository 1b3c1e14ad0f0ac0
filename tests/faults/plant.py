"""What a run on workers stands on, for one session: servers and a namespace of its own, and two workers."""

from __future__ import annotations

import os
import signal
import time
from collections.abc import Callable, Iterator
from contextlib import ExitStack, contextmanager, suppress
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, TypeVar
from urllib.parse import urlsplit
from uuid import uuid4

from minio import Minio

from penstock.store import upkeep
from tests.cluster import Cluster
from tests.faults.doorway import Doorway
from tests.faults.records import CONFIGURATION, records_of
from tests.faults.side import Side, receiving
from tests.faults.sightings import Sightings
from tests.installation import Installation, Worker
from tests.own_server import OwnMinio, OwnServer, own_folder
from tests.postgres_server import PostgresServer
from tests.services import need

BUCKET = "faults"
_KEY = "minioadmin"
_LOOK = 0.05
_Found = TypeVar("_Found")


class OwnRedis(OwnServer):
    """It keeps nothing: a restart is one without any message."""

    name = "redis"
    variables = ("REDIS_PORT",)

    @property
    def url(self) -> str:
        return f"redis://127.0.0.1:{self.port}/0"


class ReachedMinio(OwnMinio):
    """Listens where pods reach this machine."""

    @property
    def host(self) -> str:
        return urlsplit(need("s3")).hostname or ""

    @property
    def url(self) -> str:
        return f"http://{self.host}:{self.port}"

    def settings(self) -> dict[str, str]:
        return {"MINIO_BIND": self.host}


@dataclass
class Plant:
    installation: Installation
    postgres: PostgresServer
    minio: ReachedMinio
    redis: OwnRedis
    cluster: Cluster
    doorway: Doorway
    sightings: Sightings
    side: Side
    workers: list[Worker] = field(default_factory=list[Worker])

    @property
    def home(self) -> Path:
        return Path(self.installation.variables["PENSTOCK_HOME"])

    def mend(self) -> None:
        """All servers are up, and two workers serve."""
        self.doorway.open()
        for server in (self.postgres, self.minio, self.redis):
            server.resume()
            server.start()
        for worker in [one for one in self.workers if one.process.poll() is not None]:
            self.workers.remove(worker)
        while len(self.workers) < 2:
            self.workers.append(self.installation.start("--concurrency", "4"))

    def rows(self, query: str, *values: str) -> list[dict[str, Any]]:
        return records_of(self.home).rows(query, *values)

    def watcher(self) -> int:
        """The process id of the one that is at work."""
        return until(self._watcher, "no watcher is at work")

    def kill_watcher(self) -> None:
        os.kill(self.watcher(), signal.SIGKILL)

    @contextmanager
    def workers_of(self, queue: str) -> Iterator[None]:
        """Two more, which serve that queue alone."""
        options = ("--queue", queue, "--concurrency", "4", "--no-watcher")
        with self.installation.worker(*options), self.installation.worker(*options):
            yield

    def _watcher(self) -> int | None:
        now = "expires_at > EXTRACT(EPOCH FROM clock_timestamp())"
        for row in self.rows(f"SELECT owner FROM leaders WHERE {now}"):
            pid = int(row["owner"].split()[1])
            with suppress(OSError):
                os.kill(pid, 0)
                return pid
        return None


def until(look: Callable[[], _Found | None], problem: str, seconds: float = 120.0) -> _Found:
    """What `look` gives once it gives something."""
    end = time.monotonic() + seconds
    while (found := look()) is None:
        assert time.monotonic() < end, problem
        time.sleep(_LOOK)
    return found


@contextmanager
def built() -> Iterator[Plant]:
    for service in ("servers", "s3", "kubernetes"):
        need(service)
    name = f"penstock-faults-{uuid4().hex[:8]}"
    with ExitStack() as stack:
        folder = stack.enter_context(own_folder())
        servers = PostgresServer(folder), ReachedMinio(folder), OwnRedis(folder)
        for server in servers:
            stack.callback(server.stop)
            server.start()
        postgres, minio, redis = servers
        postgres.execute(f'CREATE DATABASE "{name}"')
        upkeep.upgrade(postgres.url_of(name))
        s3 = Minio(endpoint=urlsplit(minio.url).netloc, access_key=_KEY, secret_key=_KEY, secure=False)
        s3.make_bucket(bucket_name=BUCKET)
        cluster = Cluster(name)
        stack.callback(cluster.remove)
        cluster.make()
        lines = [
            f'database_url = "{postgres.url_of(name)}"',
            f'pipeline_root = "s3://{BUCKET}/artifacts"',
        ]
        (folder / CONFIGURATION).write_text("\n".join(lines) + "\n", "utf-8")
        doorway = stack.enter_context(Doorway(Path(need("kubernetes")), folder / "kubeconfig"))
        variables = _variables(name, doorway, folder, postgres, minio, redis)
        installation = Installation(name, BUCKET, folder, variables)
        sightings = stack.enter_context(Sightings(cluster))
        side = stack.enter_context(receiving(minio.host, folder))
        plant = Plant(installation, postgres, minio, redis, cluster, doorway, sightings, side)
        stack.callback(_stop, plant)
        yield plant


def _variables(
    name: str, doorway: Doorway, folder: Path, postgres: PostgresServer, minio: ReachedMinio, redis: OwnRedis
) -> dict[str, str]:
    return {
        "PENSTOCK_HOME": str(folder / "home"),
        "PENSTOCK_DATABASE_URL": postgres.url_of(name),
        "PENSTOCK_BROKER_URL": redis.url,
        "PENSTOCK_PIPELINE_ROOT": f"s3://{BUCKET}/artifacts",
        "PENSTOCK_INSTALLATION": name,
        "PENSTOCK_KUBERNETES_NAMESPACE": name,
        "PENSTOCK_KUBERNETES_PULL_POLICY": "IfNotPresent",
        "PENSTOCK_KUBERNETES_IMAGE": "docker.io/library/python:3.11",
        "KUBECONFIG": str(doorway.kubeconfig),
        "AWS_ENDPOINT_URL_S3": minio.url,
        "AWS_REGION": "us-east-1",
        "AWS_ACCESS_KEY_ID": _KEY,
        "AWS_SECRET_ACCESS_KEY": _KEY,
    }


def _stop(plant: Plant) -> None:
    for worker in plant.workers:
        worker.stop()

"""A large file into S3 and back, beside the `minio` SDK's own calls for that, each in a process of its own.

    python -m tests.benchmarks.object_store OURS|SDK put|get URI FILE

moves it once, and prints seconds and the peak of the process's memory in MB as JSON.
"""

from __future__ import annotations

import hashlib
import json
import os
import statistics
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path

from tests.benchmarks.bench import Bench, plain_variables
from tests.benchmarks.outcome import Measurement, Row, alone
from tests.benchmarks.sampling import Samples, interleave, paired_ratio, seconds
from tests.services import SERVICES

_MIB = 1 << 20
_RATE = 0.85
_MEMORY_MB = 200.0


def measure(bench: Bench) -> Measurement:
    if not os.environ.get(SERVICES["s3"].variable):
        return Measurement([], {}, [f"There was no S3 here: {SERVICES['s3'].variable} does not name one."])
    from tests.integration.s3_service import fresh_bucket

    size = bench.count(1024, 64)
    source = _noise(bench.home / "source", size)
    rows: list[Row] = []
    samples: Samples = {}
    with fresh_bucket() as bucket:
        variables = {**plain_variables(), **bucket.variables}
        for verb in ("put", "get"):
            peaks: dict[str, list[float]] = {"OURS": [], "SDK": []}

            def once(
                side: str, verb: str = verb, peaks: dict[str, list[float]] = peaks
            ) -> Callable[[], float]:
                def run() -> float:
                    file = source if verb == "put" else bench.home / f"{side}-copy"
                    words = [sys.executable, "-m", __name__, side, verb, bucket.uri(side), str(file)]
                    done = subprocess.run(words, env=variables, check=True, stdout=subprocess.PIPE)
                    found = json.loads(done.stdout)
                    peaks[side].append(found["peak"])
                    return size * _MIB / 1e6 / found["seconds"]

                return run

            found = interleave(bench.count(5, 3), {"OURS": once("OURS"), "SDK": once("SDK")})
            rows += _rows(f"{verb} a file of {size:,} MiB", found, peaks["OURS"])
            samples |= {f"{verb}: {side}, MB/s": values for side, values in found.items()}
            samples |= {f"{verb}: {side}, peak MB": values for side, values in peaks.items()}
    note = (
        "The SDK's `fput_object` and `fget_object` with their defaults, which check nothing on the way back. "
        "Ours computes the sha256 of the whole file both ways, and compares it. The service is on the same "
        "machine, so that each takes processor time from the other. Neither get waits for the disk."
    )
    return Measurement(rows, samples, [note])


def _rows(what: str, rates: Samples, peaks: list[float]) -> list[Row]:
    ours, peer = rates.values()
    ratio = paired_ratio(ours, peer)
    rate = Row(
        what,
        "MB/s",
        statistics.median(ours),
        statistics.median(peer),
        "`minio` SDK",
        ratio,
        f"≥ {_RATE:g} ×",
        ratio >= _RATE,
    )
    return [rate, alone("the same: peak memory of the process", max(peaks), "MB", at_most=_MEMORY_MB)]


def _noise(path: Path, mebibytes: int) -> Path:
    with path.open("wb") as file:
        for number in range(mebibytes):
            file.write(hashlib.shake_128(str(number).encode()).digest(_MIB))
    return path


def main() -> None:
    from minio import Minio

    from penstock.artifacts.s3.address import parse
    from penstock.artifacts.s3.config import S3Config
    from penstock.artifacts.s3.store import S3ArtifactStore

    side, verb, uri, file = sys.argv[1:]
    config, address, path = S3Config.read(os.environ), parse(uri), Path(file)
    store = S3ArtifactStore(config)
    client = Minio(
        config.endpoint.partition("://")[2],
        access_key=config.access_key,
        secret_key=config.secret_key,
        secure=config.endpoint.startswith("https"),
        region=config.region or "us-east-1",
    )
    kept = path.with_name("stored.json")
    if verb == "get":
        path.unlink(missing_ok=True)
    match side, verb:
        case "OURS", "put":

            def action() -> None:
                kept.write_text(store.put(path, uri).sha256)

        case "OURS", "get":
            from penstock.artifacts import Stored

            expected = Stored(uri, path.with_name("source").stat().st_size, kept.read_text())

            def action() -> None:
                store.get(uri, path, expected=expected)

        case "SDK", "put":

            def action() -> None:
                client.fput_object(address.bucket, address.key, file)

        case _:

            def action() -> None:
                client.fget_object(address.bucket, address.key, file)

    os.sync()  # what was written before is not written meanwhile
    taken = seconds(action)
    status = Path("/proc/self/status").read_text()
    print(json.dumps({"seconds": taken, "peak": int(status.partition("VmHWM:")[2].split()[0]) * 1024 / 1e6}))


if __name__ == "__main__":
    main()

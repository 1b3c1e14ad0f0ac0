"""The machine and the versions that figures were taken on."""

from __future__ import annotations

import os
import platform
import sqlite3
import statistics
import time
from importlib.metadata import version
from pathlib import Path

from penstock.store.sqlite import file_system

_BLOCK = 4096


def describe(folder: Path) -> dict[str, str]:
    """`folder` is where the benchmarks write."""
    flush = flush_seconds(folder)
    return {
        "processor": f"{_processor()}, {len(os.sched_getaffinity(0))} cores",
        "memory": f"{os.sysconf('SC_PAGE_SIZE') * os.sysconf('SC_PHYS_PAGES') / 2**30:.0f} GiB",
        "system": f"{platform.system()} {platform.release()}",
        "disk": f"{file_system(folder)}; 4 KiB and fdatasync in {flush * 1000:.2f} ms",
        "python": f"{platform.python_implementation()} {platform.python_version()}",
        "sqlite": sqlite3.sqlite_version,
        "libraries": ", ".join(f"{name} {version(name)}" for name in ("sqlalchemy", "pyyaml", "uv")),
    }


def flush_seconds(folder: Path, times: int = 100) -> float:
    """What the disk takes to keep one small write, which every commit pays."""
    file = folder / "flush"
    handle = os.open(file, os.O_WRONLY | os.O_CREAT | os.O_TRUNC, 0o600)
    taken: list[float] = []
    try:
        for _ in range(times):
            start = time.perf_counter()
            os.write(handle, b"\1" * _BLOCK)
            os.fdatasync(handle)
            taken.append(time.perf_counter() - start)
    finally:
        os.close(handle)
        file.unlink()
    return statistics.median(taken)


def _processor() -> str:
    try:
        lines = Path("/proc/cpuinfo").read_text().splitlines()
    except OSError:
        return platform.processor() or platform.machine()
    names = (line.partition(":")[2].strip() for line in lines if line.startswith("model name"))
    return next(names, platform.machine())

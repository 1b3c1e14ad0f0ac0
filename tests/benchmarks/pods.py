"""Pods of runs on workers, beside a Job of Kubernetes: pods a minute and processor time of the whole machine.

Also what a chain costs a step, what packages cost, and the memory of a worker that has 500 pods.
"""

from __future__ import annotations

import json
import os
import subprocess
import threading
import time
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from statistics import median
from typing import Any, Self, cast

import yaml

from penstock import ir
from penstock.execution.options import RunOptions
from penstock.execution.workspace import Workspace
from penstock.model import Json, JsonObject, Pipeline, State
from penstock_workers.kubernetes.connection import connect
from tests.benchmarks.bench import Bench
from tests.benchmarks.others import processor_seconds
from tests.benchmarks.outcome import Measurement, Row, alone
from tests.benchmarks.sampling import Samples, interleave, paired_ratio
from tests.documents import Shell, pipeline
from tests.installation import Installation, Worker, set_up
from tests.services import SERVICES

_STEPS, _FOLLOWED = 20, 500
_IMAGE = "docker.io/library/python:3.11"
_JOB = "a Job of one plain container"
_NEEDED = ("postgres", "redis", "s3", "kubernetes")
_NOT_MEASURED = Measurement([], {}, [f"Not measured: it needs {', '.join(_NEEDED)}."])


def measure(bench: Bench) -> Measurement:
    if not _is_here():
        return _NOT_MEASURED
    with _worker_there(bench) as (runs, worker):
        many = bench.count(200, 20)
        rows, samples = _rates(bench, runs, many)
        rows += _packages(bench, runs, samples)
        rows += _memory(bench, runs, worker)
    note = (
        f"{many} containers of `true`; in place: Python components of the kfp SDK, whose packages were "
        "installed by a run before. The Job has as many completions, at the same parallelism. Processor time "
        "is the whole machine's: node, API server, database, S3 and worker are all on it, so that what one "
        "takes, the others lack."
    )
    return Measurement(rows, samples, [note])


def measure_chain(bench: Bench) -> Measurement:
    """From one pod to the next."""
    if not _is_here():
        return _NOT_MEASURED
    with _worker_there(bench) as (runs, _):
        return _chain(bench, runs)


def _is_here() -> bool:
    return all(SERVICES[name].variable in os.environ for name in _NEEDED)


@dataclass(slots=True)
class _Runs:
    """`spent` are processor seconds of the machine for each call, by what was run."""

    found: Installation
    workspace: Workspace
    spent: dict[str, list[float]] = field(default_factory=dict[str, list[float]])

    def run(self, loaded: Pipeline, arguments: Mapping[str, Json], parallel: int, what: str = "") -> float:
        options = RunOptions(cache=False, parallel=parallel, engine="celery", launcher="kubernetes")
        before, start = processor_seconds(), time.perf_counter()
        run = self.workspace.submit(loaded, arguments, options=options)
        self.workspace.start(run)
        while not (state := self.workspace.store.runs.get(run.id).state).ended:
            time.sleep(0.05)
        taken = time.perf_counter() - start
        self.spent.setdefault(what, []).append(processor_seconds() - before)
        if state is not State.SUCCEEDED:
            raise RuntimeError(f"the run ended {state}: {self.workspace.result(run.id)}")
        return taken

    def job(self, many: int, parallel: int, what: str) -> float:
        """The seconds from `kubectl create` to the Job's end."""
        container = {
            "name": "main",
            "image": _IMAGE,
            "imagePullPolicy": "IfNotPresent",
            "command": ["true"],
        }
        spec = {
            "completions": many,
            "parallelism": parallel,
            "template": {"spec": {"restartPolicy": "Never", "containers": [container]}},
        }
        document = {"apiVersion": "batch/v1", "kind": "Job", "metadata": {"name": "bench"}, "spec": spec}
        before, start = processor_seconds(), time.perf_counter()
        self._kubectl("create", "-f", "-", given=json.dumps(document))
        self._kubectl("wait", "--for=condition=complete", "--timeout=600s", "job/bench")
        taken = time.perf_counter() - start
        self.spent.setdefault(what, []).append(processor_seconds() - before)
        self._kubectl("delete", "job", "bench", "--cascade=foreground", "--wait")
        return taken

    def _kubectl(self, *words: str, given: str = "") -> None:
        command = ["kubectl", "--namespace", self.found.namespace, *words]
        subprocess.run(
            command,
            input=given,
            text=True,
            check=True,
            stdout=subprocess.DEVNULL,
            env={**os.environ, **self.found.variables},
        )


@contextmanager
def _worker_there(bench: Bench) -> Iterator[tuple[_Runs, Worker]]:
    folder = bench.home / "installation"
    folder.mkdir()
    former = dict(os.environ)
    with set_up(folder) as found, found.worker() as worker:
        os.environ.update(found.variables)
        try:
            with Workspace(found.settings) as workspace:
                yield _Runs(found, workspace), worker
        finally:
            os.environ.clear()
            os.environ.update(former)


def _rates(bench: Bench, runs: _Runs, many: int) -> tuple[list[Row], Samples]:
    python = bench.load("noops-in-a-loop")
    plain = _with_image(bench.pipeline_file("trues-in-a-loop"))
    items: JsonObject = {"items": list(range(many))}
    runs.run(python, {"items": [1]}, 1)
    rows: list[Row] = []
    samples: Samples = {}
    for parallel, floors in ((10, (0.8, 0.7)), (30, (0.8, 0.5))):
        names = [f"{kind}, {parallel} at once" for kind in ("plain", "in place", "Job")]
        found = interleave(
            bench.count(2, 1),
            {
                names[0]: lambda parallel=parallel, what=names[0]: runs.run(plain, items, parallel, what),
                names[1]: lambda parallel=parallel, what=names[1]: runs.run(python, items, parallel, what),
                names[2]: lambda parallel=parallel, what=names[2]: runs.job(many, parallel, what),
            },
            warm_up=0,
        )
        samples.update(found)
        job = found[names[2]]
        for name, floor in zip(names, floors, strict=False):
            ratio = paired_ratio(job, found[name])
            rows.append(
                Row(
                    f"pods a minute, {name}",
                    "/min",
                    60 * many / median(found[name]),
                    60 * many / median(job),
                    _JOB,
                    ratio,
                    f"≥ {floor} ×",
                    ratio >= floor,
                )
            )
        for name in names[:2]:
            ours, peer = (median(runs.spent[one]) / many for one in (name, names[2]))
            rows.append(Row(f"processor time of a task, {name}", "s", ours, peer, _JOB, ours / peer))
    return rows, samples


def _chain(bench: Bench, runs: _Runs) -> Measurement:
    names = [f"step-{number}" for number in range(_STEPS)]
    line = [
        Shell(name, command=["true"], image=_IMAGE, after=names[number - 1 : number])
        for number, name in enumerate(names)
    ]
    loaded = _load("chain", *line)
    with _Gaps(runs.found) as gaps:
        taken = [runs.run(loaded, {}, 1) / _STEPS for _ in range(bench.count(3, 1))]
    gap = median(gaps.seconds) * 1000
    rows = [
        alone(f"chain of {_STEPS} plain tasks, a step", median(taken), "s", at_most=2.0),
        alone("from the end of a pod to the next pod's creation", gap, "ms", at_most=300),
    ]
    samples = {"a step of the chain": taken, "from a pod's end to the next pod": gaps.seconds}
    note = "A pod has ended when its one container has; the node says of the pod itself a second later."
    return Measurement(rows, samples, [note])


def _packages(bench: Bench, runs: _Runs, samples: Samples) -> list[Row]:
    """A component with pandas: the pod that installs it, those after, and pip in each pod."""
    frame = bench.load("one-frame")
    first = runs.run(frame, {}, 1, "pandas, first")
    later = [runs.run(frame, {}, 1, "pandas, later") for _ in range(bench.count(3, 1))]
    samples["pandas: first"], samples["pandas: later"] = [first], later
    each = _in_each_pod(bench, runs, frame)
    samples["pandas: pip in the pod"] = each
    peer = "pip in each pod"
    return [
        Row(
            "component with pandas, the first in an installation",
            "s",
            first,
            median(each),
            peer,
            first / median(each),
        ),
        Row(
            "component with pandas, later",
            "s",
            median(later),
            median(each),
            peer,
            median(later) / median(each),
        ),
    ]


def _in_each_pod(bench: Bench, runs: _Runs, frame: Pipeline) -> list[float]:
    with runs.found.worker("--queue", "in-pod", PENSTOCK_KUBERNETES_ENVIRONMENTS="in-pod"):
        taken: list[float] = []
        for _ in range(bench.count(2, 1)):
            start = time.perf_counter()
            run = runs.workspace.submit(
                frame, {}, options=RunOptions(cache=False, engine="celery", queue="in-pod")
            )
            runs.workspace.start(run)
            while not runs.workspace.store.runs.get(run.id).state.ended:
                time.sleep(0.05)
            taken.append(time.perf_counter() - start)
        return taken


def _memory(bench: Bench, runs: _Runs, worker: Worker) -> list[Row]:
    """Pods that no node takes are followed as others are."""
    many = bench.count(_FOLLOWED, 50)
    names = [f"task-{number}" for number in range(many)]
    selectors = {f"exec-{name}": {"nodeSelector": {"labels": {"no": "such-node"}}} for name in names}
    platform: JsonObject = {
        "platforms": {"kubernetes": {"deploymentSpec": {"executors": cast("Json", selectors)}}}
    }
    loaded = _load(
        "many", *(Shell(name, command=["true"], image=_IMAGE) for name in names), platform=platform
    )
    options = RunOptions(cache=False, parallel=many, engine="celery", launcher="kubernetes")
    store = runs.workspace.store
    run = runs.workspace.submit(loaded, {}, options=options)
    runs.workspace.start(run)
    while sum(1 for one in store.launches.open(run.id) if one.waits_for) < many:
        time.sleep(0.2)
    found = {"a worker": _resident(worker.process.pid)}
    found |= {"its watcher": max(_resident(child) for child in _children(worker.process.pid))}
    store.runs.request_cancel(run.id)
    while not store.runs.get(run.id).state.ended:
        time.sleep(0.2)
    return [alone(f"memory of {who}, {many} pods", size, "MB", at_most=200) for who, size in found.items()]


def _load(name: str, *tasks: Shell, platform: JsonObject | None = None) -> Pipeline:
    documents = [pipeline(name, *tasks), *([platform] if platform else [])]
    return ir.load(yaml.safe_dump_all(documents))


def _with_image(path: Path) -> Pipeline:
    """The compiled pipeline, with an image that the node has."""
    return ir.load(path.read_text().replace("debian:bookworm", _IMAGE))


def _resident(process: int) -> float:
    """Megabytes."""
    for line in Path(f"/proc/{process}/status").read_text().splitlines():
        if line.startswith("VmRSS:"):
            return int(line.split()[1]) / 1000
    return 0.0


def _children(process: int) -> Sequence[int]:
    text = Path(f"/proc/{process}/task/{process}/children").read_text()
    return [int(one) for one in text.split()]


class _Gaps:
    """Times from the end of a pod's container to the creation of the next pod, as a watch of its own hears
    of them.
    """

    def __init__(self, found: Installation) -> None:
        self._api = connect("", found.namespace)
        self._thread = threading.Thread(target=self._listen, daemon=True)
        self._stopped = threading.Event()
        self.seconds: list[float] = []

    def __enter__(self) -> Self:
        self._thread.start()
        return self

    def __exit__(self, *problem: object) -> None:
        self._stopped.set()
        self._thread.join()

    def _listen(self) -> None:
        version = self._api.list("pods").version
        ended: float | None = None
        told: set[str] = set()
        while not self._stopped.is_set():
            for change in self._api.watch("pods", "", version, seconds=2):
                pod, now = cast("dict[str, Any]", change.object), time.perf_counter()
                version = pod["metadata"]["resourceVersion"]
                if change.type == "ADDED" and ended is not None:
                    self.seconds.append(now - ended)
                    ended = None
                containers = pod.get("status", {}).get("containerStatuses") or []
                over = any("terminated" in one["state"] for one in containers)
                if over and pod["metadata"]["name"] not in told:
                    told.add(pod["metadata"]["name"])
                    ended = now

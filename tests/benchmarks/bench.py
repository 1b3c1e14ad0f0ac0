"""Where benchmarks run: a home of penstock on a real disk, the KFP SDK beside it, and compiled pipelines."""

from __future__ import annotations

import json
import os
import shutil
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, cast

import yaml

from penstock import ir
from penstock.execution.options import RunOptions
from penstock.execution.settings import load_settings
from penstock.execution.workspace import Workspace
from penstock.model import Json, Pipeline, State, TaskRun

KFP_VERSION = "2.17.0"
"""The newest that installs: later ones ask for a certifi that package indexes do not all serve."""

_SDK = [f"kfp=={KFP_VERSION}", "setuptools<81"]
_KFP_SIDE = Path(__file__).with_name("kfp_side.py")


@dataclass(slots=True)
class Bench:
    """`folder` stays between calls (environments, compiled pipelines), `home` goes with its measurement.

    `quick` asks for few samples: good for trying the benchmarks out, not for figures.
    """

    folder: Path
    home: Path
    quick: bool
    tell: Callable[[str], None]
    _ready: set[str] = field(default_factory=set[str])

    def count(self, full: int, quick: int) -> int:
        return quick if self.quick else full

    @property
    def program(self) -> Path:
        """The console script."""
        return Path(sys.executable).with_name("penstock")

    @property
    def environments(self) -> Path:
        return self.folder / "environments"

    def variables(self) -> dict[str, str]:
        """For whole `penstock` processes."""
        return {
            **plain_variables(),
            "PENSTOCK_HOME": str(self.home),
            "PENSTOCK_ENVIRONMENTS": str(self.environments),
        }

    @property
    def kfp_python(self) -> Path:
        """An interpreter with the KFP SDK, in an environment that is made on first use."""
        home = self.folder / f"kfp-{KFP_VERSION}"
        python = home / "bin" / "python"
        if "kfp" not in self._ready:
            stamp = home / "ready"
            if not stamp.exists():
                self.tell(f"making an environment with kfp {KFP_VERSION}")
                shutil.rmtree(home, ignore_errors=True)
                uv = [sys.executable, "-m", "uv"]
                subprocess.run(
                    [*uv, "venv", "-q", "--seed", "--python", sys.executable, str(home)], check=True
                )
                subprocess.run(
                    [*uv, "pip", "install", "-q", "--compile-bytecode", "--python", str(python), *_SDK],
                    check=True,
                )
                stamp.touch()
            self._ready.add("kfp")
        return python

    def pipeline_file(self, name: str) -> Path:
        """A pipeline of `kfp_side`, compiled by the stock SDK."""
        folder = self.folder / "pipelines"
        file = folder / f"{name}.yaml"
        if not file.exists() or file.stat().st_mtime < _KFP_SIDE.stat().st_mtime:
            folder.mkdir(parents=True, exist_ok=True)
            command = [self.kfp_python, _KFP_SIDE, "compile", folder]
            subprocess.run(command, check=True, env=plain_variables())
        return file

    def kfp_local(self, name: str, mode: str) -> float:
        """The seconds that `kfp.local` takes for a pipeline, without its own start and imports."""
        with tempfile.TemporaryDirectory(dir=self.folder) as folder:
            done = subprocess.run(
                [self.kfp_python, _KFP_SIDE, "run", name, mode, folder],
                check=True,
                env=plain_variables(),
                stdin=subprocess.DEVNULL,
                stdout=subprocess.PIPE,
                stderr=subprocess.DEVNULL,
                text=True,
            )
        return float(json.loads(done.stdout.splitlines()[-1])["seconds"])

    def run(
        self,
        pipeline: Pipeline,
        arguments: Mapping[str, Json] | None = None,
        *,
        parallel: int = 0,
        on_change: Callable[[TaskRun], None] | None = None,
    ) -> float:
        """The seconds from submitting a run to its end, here. Raises RuntimeError unless it succeeds."""
        with Workspace(load_settings(environ=self.variables(), folder=self.folder)) as workspace:
            _ = workspace.store
            start = time.perf_counter()
            record = workspace.submit(
                pipeline, arguments or {}, options=RunOptions(cache=False, parallel=parallel)
            )
            state = workspace.drive(record.id, on_change=on_change)
            taken = time.perf_counter() - start
            if state is not State.SUCCEEDED:
                raise RuntimeError(f"the run of {pipeline.name} ended {state}: {workspace.result(record.id)}")
        return taken

    def load(self, name: str) -> Pipeline:
        return ir.load(self.pipeline_file(name))

    def executor(self, name: str, component: str) -> BareExecutor:
        """A Python component of a compiled pipeline without anybody around it, in penstock's environment."""
        document = cast("dict[str, Any]", yaml.safe_load(self.pipeline_file(name).read_text()))
        container = document["deploymentSpec"]["executors"][f"exec-{component}"]["container"]
        self.run(self.load("one-noop"))
        pythons = sorted(self.environments.glob("*/bin/python"), key=lambda one: one.stat().st_mtime)
        with_kfp = [one for one in pythons if list(one.parents[1].glob("lib/*/site-packages/kfp"))]
        return BareExecutor(with_kfp[-1], container["command"][-1], component, self.folder)


@dataclass(frozen=True, slots=True)
class BareExecutor:
    """`python -m kfp.dsl.executor_main` on a component's source."""

    python: Path
    source: str
    component: str
    folder: Path

    def seconds(
        self, times: int = 1, together: bool = False, inputs: Mapping[str, Json] | None = None
    ) -> float:
        """`times` processes one after the other, or all `together`."""
        with tempfile.TemporaryDirectory(dir=self.folder) as folder:
            orders = [self._order(Path(folder) / str(number), inputs or {}) for number in range(times)]
            start = time.perf_counter()
            if together:
                codes = [process.wait() for process in [self._start(order) for order in orders]]
            else:
                codes = [self._start(order).wait() for order in orders]
            taken = time.perf_counter() - start
            if any(codes):
                raise RuntimeError(f"the bare executor of {self.component} ended with exit codes {codes}")
        return taken

    def _order(self, folder: Path, inputs: Mapping[str, Json]) -> list[str]:
        folder.mkdir()
        module = folder / "ephemeral_component.py"
        module.write_text(self.source)
        outputs = {
            "parameters": {"Output": {"outputFile": str(folder / "Output")}},
            "outputFile": str(folder / "executor_output.json"),
        }
        given = {"inputs": {"parameterValues": dict(inputs)} if inputs else {}, "outputs": outputs}
        return [
            *(str(self.python), "-m", "kfp.dsl.executor_main"),
            *("--component_module_path", str(module)),
            *("--executor_input", json.dumps(given)),
            *("--function_to_execute", self.component),
        ]

    def _start(self, order: list[str]) -> subprocess.Popen[bytes]:
        return subprocess.Popen(
            order,
            env={**plain_variables(), "_KFP_RUNTIME": "true"},
            stdin=subprocess.DEVNULL,
            stdout=subprocess.DEVNULL,
            stderr=subprocess.DEVNULL,
        )


def plain_variables() -> dict[str, str]:
    """The environment for every process that is measured, ours and the peers'.

    Settings of Python itself stay out: with PYTHONDONTWRITEBYTECODE, say, whoever was installed without
    bytecode would compile all its modules at every start, and be blamed for it.
    """
    return {name: value for name, value in os.environ.items() if not name.startswith(("PYTHON", "PENSTOCK_"))}


@contextmanager
def open_bench(folder: Path, quick: bool, tell: Callable[[str], None]) -> Iterator[Bench]:
    folder.mkdir(parents=True, exist_ok=True)
    with tempfile.TemporaryDirectory(prefix="home-", dir=folder) as home:
        yield Bench(folder.absolute(), Path(home).absolute(), quick, tell)

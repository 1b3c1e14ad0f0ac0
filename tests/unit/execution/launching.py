"""Orders and launchers for the tests of this folder."""

from __future__ import annotations

import os
from collections.abc import Mapping, Sequence
from pathlib import Path

from penstock.artifacts import FileArtifactStore, uri_of
from penstock.execution.environments.cache import Environments
from penstock.execution.manifest import OutputManifest
from penstock.execution.order import LaunchOrder, RunFields
from penstock.execution.process.launcher import ProcessLauncher
from penstock.model import (
    Artifact,
    ArtifactType,
    Component,
    ContainerExecutor,
    EnvVar,
    Executor,
    InputArtifact,
    InputParameter,
    Interface,
    Json,
    OutputArtifact,
    OutputParameter,
    ParameterType,
    Values,
)

RUN = "run-1"
DATASET = ArtifactType("system.Dataset", "0.0.1")


def launcher(home: Path, *, private_tmp: bool = True, pass_env: Sequence[str] = ()) -> ProcessLauncher:
    environments = Environments(home / "environments", offline=True)
    return ProcessLauncher(
        home, FileArtifactStore(), environments, private_tmp=private_tmp, pass_env=pass_env
    )


def container(*words: str, image: str = "alpine", env: Mapping[str, str] | None = None) -> ContainerExecutor:
    return ContainerExecutor(image, words, (), tuple(EnvVar(*one) for one in (env or {}).items()))


def script(text: str, *words: str, image: str = "debian") -> ContainerExecutor:
    return container("sh", "-ec", text, *words, image=image)


def order(
    home: Path,
    executor: Executor,
    attempt_id: str = "attempt-1",
    *,
    inputs: Mapping[str, Json] | None = None,
    artifacts: Mapping[str, tuple[Artifact, ...]] | None = None,
    parameters: Mapping[str, ParameterType] | None = None,
    outputs: Mapping[str, ParameterType] | None = None,
    output_artifacts: Mapping[str, OutputArtifact] | Sequence[str] = (),
    timeout: float | None = None,
) -> LaunchOrder:
    """`parameters` declares inputs, all the given ones as STRING by default; `outputs` output parameters."""
    root = uri_of(home / "artifacts")
    task_uri = f"{root}/pipeline/{RUN}/train/{attempt_id}"
    if not isinstance(output_artifacts, Mapping):
        output_artifacts = {name: OutputArtifact(DATASET) for name in output_artifacts}
    declared = parameters or dict.fromkeys(inputs or {}, ParameterType.STRING)
    interface = Interface(
        {name: InputParameter(kind) for name, kind in declared.items()},
        {name: InputArtifact(DATASET) for name in artifacts or {}},
        {name: OutputParameter(kind) for name, kind in (outputs or {}).items()},
        output_artifacts,
    )
    time = "2026-01-02T03:04:05Z"
    return LaunchOrder(
        attempt_id=attempt_id,
        run=RunFields(RUN, "a run", "pipeline-x", "pipeline", root, time, time),
        path="train",
        task_name="train",
        component=Component("comp-train", interface, "exec-train"),
        executor=executor,
        inputs=Values(dict(inputs or {}), dict(artifacts or {})),
        output_uris={name: f"{task_uri}/{name}" for name in output_artifacts},
        task_uri=task_uri,
        timeout=timeout,
    )


def run(home: Path, ordered: LaunchOrder, *, private_tmp: bool = True) -> OutputManifest:
    manifest = launcher(home, private_tmp=private_tmp).start(ordered).wait(60)
    assert manifest is not None, "the attempt did not end within a minute"
    return manifest


def log_of(home: Path, attempt_id: str = "attempt-1") -> str:
    return (home / "attempts" / RUN / attempt_id / "log").read_text()


def processes_of(home: Path, attempt_id: str = "attempt-1") -> list[str]:
    """The command lines of all processes with the attempt's own HOME, looked up without any of our code."""
    mark = f"HOME={home}/attempts/{RUN}/{attempt_id}/".encode()
    found: list[str] = []
    for name in os.listdir("/proc"):
        if name.isdigit():
            try:
                if mark in Path(f"/proc/{name}/environ").read_bytes():
                    found.append(Path(f"/proc/{name}/cmdline").read_bytes().decode().replace("\0", " "))
            except OSError:
                continue
    return found

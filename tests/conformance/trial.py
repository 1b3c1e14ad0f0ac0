"""One pipeline run embedded and judged by its case: as it is, or in disguise."""

from __future__ import annotations

import json
import os
import shutil
from collections.abc import Mapping
from dataclasses import replace
from pathlib import Path
from types import MappingProxyType
from typing import cast

import pytest
import yaml

from penstock.execution.options import RunOptions
from penstock.execution.result import Run
from penstock.execution.settings import load_settings
from penstock.execution.workspace import Workspace
from penstock.ir import load
from penstock.model import Component, Json
from tests.conformance.case import TEMPORARY, Case
from tests.conformance.disguise import disguise, undisguise
from tests.conformance.judge import Observed, differences

FULL = bool(os.environ.get("PENSTOCK_FULL"))


def check_pipeline(
    case: Case,
    pipeline: Path,
    disguised: bool,
    home: Path,
    tmp_path: Path,
    settings: Mapping[str, str] = MappingProxyType({}),
) -> None:
    """Asserts that the run of the file `pipeline` is as the case says; skips what this machine cannot do."""
    missing = [program for program in case.needs if shutil.which(program) is None]
    if missing:
        pytest.skip(f"this machine has no {', '.join(missing)}")
    if case.slow and not FULL:
        pytest.skip("takes long; `make conformance` runs it")
    text = pipeline.read_text("utf-8")
    if disguised:
        documents = [one for one in yaml.load_all(text, yaml.CSafeLoader) if one]
        # What the compiler forgot to connect (kubeflow/pipelines#13273) is found by its names for channels.
        forgot = any("#13273" in note for note in load(pipeline).notes)
        disguised_documents = disguise(documents, keep_channels=forgot)
        text = yaml.dump_all(disguised_documents, Dumper=yaml.CSafeDumper, sort_keys=False)
    source = tmp_path / "pipeline.yaml"
    source.write_text(text, "utf-8")
    for kind, known in (("secrets", case.secrets), ("configmaps", case.config_maps)):
        for name, keys in known.items():
            for key, value in keys.items():
                file = home / kind / name / key
                file.parent.mkdir(parents=True, exist_ok=True)
                file.write_text(value, "utf-8")
    for path, content in case.given.items():
        Path(path.replace(TEMPORARY, str(tmp_path))).write_text(content, "utf-8")

    with Workspace(load_settings({"home": str(home), **settings})) as workspace:
        for number in range(case.runs):
            _, observed, lists = observe(workspace, source, arguments(case, tmp_path))
            problems = differences(case, observed, lists)
            assert not problems, "\n".join(problems)
            if number:
                assert sorted(path for path, task in observed.tasks.items() if task.cached) == sorted(
                    case.cached
                )
    for argument, content in case.files.items():
        path = Path(str(arguments(case, tmp_path)[argument]))
        assert path.read_text("utf-8") == content


def arguments(case: Case, folder: Path) -> dict[str, Json]:
    text = json.dumps(case.arguments).replace(TEMPORARY, str(folder))
    return cast("dict[str, Json]", json.loads(text))


def observe(
    workspace: Workspace, source: Path, given: dict[str, Json]
) -> tuple[Run, Observed, frozenset[str]]:
    pipeline = load(source)
    record = workspace.submit(pipeline, given, options=RunOptions(parallel=2))
    workspace.drive(record.id)
    run = workspace.result(record.id)
    launcher = workspace.launcher(RunOptions())
    attempts = {undisguise(one.path): one.id for one in workspace.store.attempts.list(record.id)}

    def read_log(path: str) -> str:
        return (
            "".join(f"{line}\n" for line in launcher.log(record.id, attempts[path]))
            if path in attempts
            else ""
        )

    tasks = {
        undisguise(path): replace(
            task, outputs={undisguise(name): value for name, value in task.outputs.items()}
        )
        for path, task in run.tasks.items()
    }
    outputs = {undisguise(name): value for name, value in run.outputs.items()}
    return (
        run,
        Observed(run, tasks, outputs, read_log),
        artifact_names([pipeline.root, *pipeline.components.values()]),
    )


def artifact_names(components: list[Component]) -> frozenset[str]:
    return frozenset(
        undisguise(name) for component in components for name in component.interface.output_artifacts
    )

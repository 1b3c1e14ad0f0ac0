"""One pipeline run and judged by its case: as it is, or in disguise."""

from __future__ import annotations

import json
import os
from dataclasses import replace
from pathlib import Path
from typing import cast

import pytest
import yaml

from penstock.execution.options import RunOptions
from penstock.execution.workspace import Workspace
from penstock.ir import load
from penstock.model import Component, Json
from tests.conformance.case import TEMPORARY, Case
from tests.conformance.disguise import disguise, undisguise
from tests.conformance.ground import Ground
from tests.conformance.judge import Observed, differences

FULL = bool(os.environ.get("PENSTOCK_FULL"))


def check_pipeline(case: Case, pipeline: Path, disguised: bool, tmp_path: Path, ground: Ground) -> None:
    """Asserts that the run of the file `pipeline` is as the case says; skips what cannot be done there."""
    case = ground.fitted(case)
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
    ground.provide(case)
    given = arguments(case, ground.temporary)

    with Workspace(ground.settings) as workspace:
        for number in range(case.runs):
            observed, lists = observe(workspace, source, given, ground.options(number, case))
            problems = differences(case, observed, lists)
            assert not problems, "\n".join(problems)
            if number:
                assert sorted(path for path, task in observed.tasks.items() if task.cached) == sorted(
                    case.cached
                )
    for argument, content in case.files.items():
        assert Path(str(given[argument])).read_text("utf-8") == content


def arguments(case: Case, temporary: str) -> dict[str, Json]:
    text = json.dumps(case.arguments).replace(TEMPORARY, temporary)
    return cast("dict[str, Json]", json.loads(text))


def observe(
    workspace: Workspace, source: Path, given: dict[str, Json], options: RunOptions
) -> tuple[Observed, frozenset[str]]:
    pipeline = load(source)
    record = workspace.submit(pipeline, given, options=options)
    workspace.drive(record.id)
    run = workspace.result(record.id)
    stored = workspace.store.runs.get(record.id)
    launcher = workspace.launcher(RunOptions.from_json(stored.options), stored.pipeline_root)
    attempts = {undisguise(one.path): one for one in workspace.store.attempts.list(record.id)}

    def read_log(path: str) -> str:
        if path not in attempts:
            return ""
        last = attempts[path]
        return "".join(f"{line}\n" for line in launcher.log(record.id, last.id, place=last.log))

    tasks = {
        undisguise(path): replace(
            task, outputs={undisguise(name): value for name, value in task.outputs.items()}
        )
        for path, task in run.tasks.items()
    }
    outputs = {undisguise(name): value for name, value in run.outputs.items()}
    return (
        Observed(run, tasks, outputs, read_log),
        artifact_names([pipeline.root, *pipeline.components.values()]),
    )


def artifact_names(components: list[Component]) -> frozenset[str]:
    return frozenset(
        undisguise(name) for component in components for name in component.interface.output_artifacts
    )

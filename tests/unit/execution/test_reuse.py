"""What was done before stands for the same again: imports, and tasks that read secrets."""

from __future__ import annotations

from pathlib import Path

import pytest
import yaml

from penstock.execution.settings import load_settings
from penstock.execution.workspace import Workspace
from penstock.ir import load

DATASET = {"artifactType": {"schemaTitle": "system.Dataset", "schemaVersion": "0.0.1"}}


def pipeline(uri: str, *, reimport: bool) -> str:
    reader = {"container": {"image": "alpine", "command": ["true"]}}
    importer = {
        "importer": {
            "artifactUri": {"constant": uri},
            "reimport": reimport,
            "typeSchema": DATASET["artifactType"],
        }
    }
    document = {
        "pipelineInfo": {"name": "imports"},
        "schemaVersion": "2.1.0",
        "deploymentSpec": {"executors": {"exec-importer": importer, "exec-read": reader}},
        "components": {
            "comp-importer": {
                "executorLabel": "exec-importer",
                "outputDefinitions": {"artifacts": {"artifact": DATASET}},
            },
            "comp-read": {"executorLabel": "exec-read", "inputDefinitions": {"artifacts": {"data": DATASET}}},
        },
        "root": {
            "dag": {
                "tasks": {
                    "importer": {"componentRef": {"name": "comp-importer"}},
                    "read": {
                        "componentRef": {"name": "comp-read"},
                        "cachingOptions": {"enableCache": True},
                        "inputs": {
                            "artifacts": {
                                "data": {
                                    "taskOutputArtifact": {
                                        "producerTask": "importer",
                                        "outputArtifactKey": "artifact",
                                    }
                                }
                            }
                        },
                    },
                }
            }
        },
    }
    return yaml.safe_dump(document)


def read_is_cached(text: str, home: Path, **arguments: str) -> bool:
    with Workspace(load_settings({"home": str(home)})) as workspace:
        run = workspace.submit(load(text), arguments)
        workspace.drive(run.id)
        return workspace.result(run.id).tasks["read"].cached


@pytest.mark.parametrize(("reimport", "cached"), [(False, True), (True, False)])
def test_a_second_import_is_the_first_ones_artifact_unless_it_is_to_be_imported_anew(
    home: Path, tmp_path: Path, reimport: bool, cached: bool
) -> None:
    data = tmp_path / "data.csv"
    data.write_text("a,b\n")
    text = pipeline(data.as_uri(), reimport=reimport)

    assert not read_is_cached(text, home)
    assert read_is_cached(text, home) is cached


def test_a_file_that_changed_is_another_artifact(home: Path, tmp_path: Path) -> None:
    data = tmp_path / "data.csv"
    data.write_text("a,b\n")
    text = pipeline(data.as_uri(), reimport=False)
    assert not read_is_cached(text, home)

    data.write_text("a,c\n")

    assert not read_is_cached(text, home)
    assert read_is_cached(text, home)


def test_a_task_with_another_secret_is_another_task(home: Path) -> None:
    executor = {"container": {"image": "alpine", "command": ["true"]}}
    task = {"componentRef": {"name": "comp"}, "cachingOptions": {"enableCache": True}}
    parameters = {"parameters": {"name": {"parameterType": "STRING"}}}
    document = {
        "pipelineInfo": {"name": "secrets"},
        "schemaVersion": "2.1.0",
        "deploymentSpec": {"executors": {"exec": executor}},
        "components": {"comp": {"executorLabel": "exec"}},
        "root": {"dag": {"tasks": {"read": task}}, "inputDefinitions": parameters},
    }
    secret = {
        "secretNameParameter": {"componentInputParameter": "name"},
        "keyToEnv": [{"secretKey": "user", "envVar": "USER"}],
    }
    executors = {"executors": {"exec": {"secretAsEnv": [secret]}}}
    platform = {"platforms": {"kubernetes": {"deploymentSpec": executors}}}
    text = yaml.safe_dump_all([document, platform])
    for name in ("one", "two"):
        (home / "secrets" / name).mkdir(parents=True)
        (home / "secrets" / name / "user").write_text(name)

    assert [read_is_cached(text, home, name=name) for name in ("one", "two", "one")] == [False, False, True]

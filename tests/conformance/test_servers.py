"""The corpus with its records in PostgreSQL and its artifacts in S3.

A sample with every feature; `make conformance STORE=postgres+s3` runs all, in disguise too.
"""

from __future__ import annotations

import json
import os
from collections.abc import Iterator
from pathlib import Path

import pytest

from penstock.ir import features, load
from tests.conformance.case import load_cases
from tests.conformance.ground import ThisMachine
from tests.conformance.trial import check_pipeline
from tests.integration.s3_service import fresh_bucket

CASES = {case.file: case for case in load_cases()}
WHOLE = os.environ.get("PENSTOCK_TEST_STORE") == "postgres+s3"
SAMPLE = (
    "frontend_integration--literal-input.yaml",
    "generated--nested_pipeline_all_level_retry.yaml",
    "generated--sdk_uncompiled_pipelines__task_config.yaml",
    "k8s_platform_snapshot--init_container.yaml",
    "k8s_platform_snapshot--security_context.yaml",
    "valid_critical--missing_kubernetes_optional_inputs.yaml",
    "valid_critical--pipeline_with_pod_metadata.yaml",
    "valid_local_execution--local_execution_pipeline_with_ignore_upstream_failure.yaml",
    "valid_root--artifacts_simple.yaml",
    "valid_root--components_with_optional_artifacts.yaml",
    "valid_root--if_elif_else_complex.yaml",
    "valid_root--if_else_with_oneof_artifacts.yaml",
    "valid_root--notebook_component_mixed.yaml",
    "valid_root--pipeline_as_exit_task.yaml",
    "valid_root--pipeline_with_concat_placeholder.yaml",
    "valid_root--pipeline_with_parallelfor_list_artifacts_GH-12033.yaml",
    "valid_root--pipeline_with_parallelfor_parallelism.yaml",
    "valid_root--take_nap_pipeline_root_compiled.yaml",
)
pytestmark = [pytest.mark.corpus, pytest.mark.service("postgres"), pytest.mark.service("s3")]


@pytest.fixture
def servers(postgres_url: str, monkeypatch: pytest.MonkeyPatch) -> Iterator[dict[str, str]]:
    """Settings for a database and a bucket of the test's own."""
    with fresh_bucket() as bucket:
        for name, value in bucket.variables.items():
            monkeypatch.setenv(name, value)
        yield {"database_url": postgres_url, "pipeline_root": bucket.uri("artifacts")}


@pytest.mark.parametrize(
    "disguised", [False, True] if WHOLE else [False], ids=lambda one: "disguised" if one else "plain"
)
@pytest.mark.parametrize(
    "name", [pytest.param(name, id=name) for name in (sorted(CASES) if WHOLE else SAMPLE)]
)
def test_the_pipeline_does_the_same_on_servers(
    name: str, disguised: bool, corpus: Path, home: Path, tmp_path: Path, servers: dict[str, str]
) -> None:
    check_pipeline(
        CASES[name], corpus / "pipelines" / name, disguised, tmp_path, ThisMachine(home, tmp_path, servers)
    )


def test_the_sample_has_every_feature(corpus: Path) -> None:
    found: dict[str, set[str]] = {}
    for entry in json.loads((corpus / "expected.json").read_text("utf-8")):
        name = entry["file"].rpartition("/")[2]
        if not CASES[name].slow and not CASES[name].needs:
            found[name] = {feature.name.value for feature in features(load(corpus / entry["file"]))}
    assert set().union(*(found[name] for name in SAMPLE)) == set().union(*found.values())

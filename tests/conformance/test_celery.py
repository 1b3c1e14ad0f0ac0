"""The corpus on Celery workers and Kubernetes pods.

A sample with every feature; `make conformance ENGINE=celery` runs all, in disguise too.
"""

from __future__ import annotations

import json
import os
from pathlib import Path
from uuid import uuid4

import pytest

from penstock.ir import features, load
from tests.cluster import Cluster
from tests.conformance.case import load_cases
from tests.conformance.ground import Pods
from tests.conformance.trial import check_pipeline
from tests.installation import Installation

CASES = {case.file: case for case in load_cases()}
WHOLE = os.environ.get("PENSTOCK_TEST_ENGINE") == "celery"
SAMPLE = (
    "frontend_integration--literal-input.yaml",
    "generated--nested_pipeline_pipeline_retry.yaml",
    "generated--samples__core__loop_parallelism__loop_parallelism.yaml",
    "generated--sdk_uncompiled_pipelines__task_config.yaml",
    "k8s_platform_snapshot--init_container.yaml",
    "k8s_platform_snapshot--security_context.yaml",
    "valid_critical--missing_kubernetes_optional_inputs.yaml",
    "valid_critical--pipeline_with_pod_metadata.yaml",
    "valid_local_execution--local_execution_pipeline_with_ignore_upstream_failure.yaml",
    "valid_root--components_with_optional_artifacts.yaml",
    "valid_root--if_elif_else_complex.yaml",
    "valid_root--if_else_with_oneof_artifacts.yaml",
    "valid_root--notebook_component_mixed.yaml",
    "valid_root--pipeline_with_concat_placeholder.yaml",
    "valid_root--pipeline_with_parallelfor_list_artifacts_GH-12033.yaml",
    "valid_root--pipeline_with_task_final_status_yaml.yaml",
    "valid_root--take_nap_pipeline_root_compiled.yaml",
)
pytestmark = [
    pytest.mark.corpus,
    *(pytest.mark.service(name) for name in ("postgres", "redis", "s3", "kubernetes")),
]


@pytest.mark.parametrize(
    ("name", "disguised"),
    [
        pytest.param(name, way == "disguised", id=f"{name}-{way}")
        for way in (("plain", "disguised") if WHOLE else ("plain",))
        for name in (sorted(CASES) if WHOLE else SAMPLE)
    ],
)
def test_the_pipeline_does_the_same_on_workers_and_pods(
    name: str, disguised: bool, corpus: Path, tmp_path: Path, installation: Installation
) -> None:
    case = CASES[name]
    place = installation.uri(f"given/{uuid4().hex}") if case.given else "/tmp"
    ground = Pods(installation, tmp_path, Cluster(installation.namespace), place)
    # Claims may have names of their own, so that the two ways of a pipeline cannot run at once.
    with installation.alone(name):
        check_pipeline(case, corpus / "pipelines" / name, disguised, tmp_path, ground)


def test_the_sample_has_every_feature(corpus: Path) -> None:
    found: dict[str, set[str]] = {}
    for entry in json.loads((corpus / "expected.json").read_text("utf-8")):
        name = entry["file"].rpartition("/")[2]
        if not CASES[name].slow:
            found[name] = {feature.name.value for feature in features(load(corpus / entry["file"]))}
    assert set().union(*(found[name] for name in SAMPLE)) == set().union(*found.values())

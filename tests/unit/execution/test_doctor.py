"""What would become of a pipeline, before it is run."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import pytest
import yaml

from penstock.errors import TaskError
from penstock.execution.doctor import Diagnosis, Support, diagnose
from penstock.ir import load
from penstock.model import Executor, Json, JsonObject
from tests.documents import Group, Shell, pipeline
from tests.unit.execution.engine_worlds import FakeLauncher


class Picky(FakeLauncher):
    """Gives every image that names a Python 3.11, and refuses what is asked for a secret."""

    def isolation(self, executor: Executor, platform: Mapping[str, Json]) -> str:
        if "imagePullSecret" in platform:
            raise TaskError("there are no registries here")
        return "process:cpython-3.11.7" if "python" in getattr(executor, "image", "") else "process:host"


def kubernetes(**executors: Mapping[str, Any]) -> dict[str, Any]:
    """The platform document with what it says of each executor."""
    return {"platforms": {"kubernetes": {"deploymentSpec": {"executors": dict(executors)}}}}


def diagnosis(*tasks: Shell | Group, platform: JsonObject | None = None) -> Diagnosis:
    documents = [pipeline("small", *tasks), *([platform] if platform else [])]
    return diagnose(load(yaml.safe_dump_all(documents)), Picky())


def support(found: Diagnosis, name: str) -> list[Support]:
    return [one.support for one in found.findings if one.place == f"deploymentSpec.executors.exec-{name}"]


@pytest.mark.parametrize(
    ("image", "expected"),
    [
        ("python:3.11", Support.RUNS),
        ("python:3.11-slim", Support.RUNS),
        ("python:3.9", Support.EMULATED),
        ("alpine", Support.EMULATED),
    ],
)
def test_an_image_runs_as_it_is_only_with_its_very_python(image: str, expected: Support) -> None:
    assert support(diagnosis(Shell("train", image=image)), "train") == [expected]


def test_the_whole_is_as_good_as_its_worst_part() -> None:
    good, meager = Shell("good", image="python:3.11"), Shell("meager", image="alpine")
    secret = {"imagePullSecret": [{"secretName": "registry"}]}

    assert diagnosis(good).support is Support.RUNS
    assert diagnosis(good, meager).support is Support.EMULATED
    refused = diagnosis(good, meager, platform=kubernetes(**{"exec-good": secret}))
    assert refused.support is Support.REFUSED
    assert [one.text for one in refused.findings if one.support is Support.REFUSED] == [
        "there are no registries here"
    ]


def test_every_feature_stands_with_its_place() -> None:
    found = diagnosis(Group("loop", [Shell("inner")], items=["a"]))

    assert ("loop", "root.dag.tasks.loop.parameterIterator") in [
        (one.feature, one.place) for one in found.findings
    ]
    assert {one.engine for one in found.findings} == {"embedded"}


def test_images_secrets_and_config_maps_are_named_once_and_in_order() -> None:
    keyed = {"keyToEnv": [{"secretKey": "password", "envVar": "PASSWORD"}]}
    mapped = {"keyToEnv": [{"configMapKey": "level", "envVar": "LEVEL"}]}
    platform = kubernetes(
        **{
            "exec-one": {"secretAsEnv": [{"secretName": "zeta", **keyed}, {"secretName": "alpha", **keyed}]},
            "exec-two": {
                "secretAsEnv": [{"secretName": "alpha", **keyed}],
                "configMapAsEnv": [{"configMapName": "settings", **mapped}],
            },
        }
    )

    found = diagnosis(
        Shell("one", image="b"), Shell("two", image="a"), Shell("three", image="b"), platform=platform
    )

    assert found.images == ("a", "b")
    assert found.secrets == ("alpha", "zeta")
    assert found.config_maps == ("settings",)

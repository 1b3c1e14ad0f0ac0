"""Which Python environment stands in for a container's image."""

from __future__ import annotations

from pathlib import Path

import pytest

from penstock.execution.environments.cache import Environments
from penstock.execution.process.program import Programs
from penstock.model import ContainerExecutor

RUN = ("sh", "-ec", "python3 -m kfp.dsl.executor_main --component_module_path x", "def f(): pass")


def installs(home: Path, *requirements: str) -> list[tuple[tuple[str, ...], tuple[str, ...]]]:
    """What is installed, call by call, for a Python component whose bootstrap installs `requirements`."""
    script = f'python3 -m pip install {" ".join(map(repr, requirements))} && "$0" "$@"'
    command = ("sh", "-c", script, *RUN) if requirements else RUN
    found = Programs(Environments(home, offline=True)).request(ContainerExecutor("python:3.11", command))
    assert found is not None
    return [(one.requirements, one.options) for one in found.installs]


def test_a_component_that_installs_no_kfp_expects_it_in_its_image(tmp_path: Path) -> None:
    assert installs(tmp_path) == [(("kfp>=2.1",), ())]


def test_kfp_of_the_image_comes_beside_what_a_component_installs(tmp_path: Path) -> None:
    first, (added, options) = installs(tmp_path, "six==1.16.0", "kfp-kubernetes==1.4.0")
    assert first == (("six==1.16.0", "kfp-kubernetes==1.4.0"), ())
    assert (added[0], options) == ("kfp>=2.1", ("--no-deps",))


@pytest.mark.parametrize(
    "kfp",
    [
        "kfp==2.9.0",
        "kfp",
        "kfp[kubernetes]>=2",
        "kfp @ https://x/y.whl",
        "git+https://github.com/kubeflow/pipelines",
    ],
)
def test_a_kfp_that_a_component_names_is_the_one_it_gets(tmp_path: Path, kfp: str) -> None:
    assert installs(tmp_path, kfp) == [((kfp,), ())]

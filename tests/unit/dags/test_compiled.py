"""The compiled example pipelines belong to their sources. No `kfp` is needed: both sides are only read."""

import ast
from collections.abc import Iterator
from pathlib import Path
from typing import Any, cast

import pytest
import yaml

PIPELINES = Path(__file__).resolve().parents[3] / "dags" / "pipelines"
NAMES = (
    "best_of_three",
    "commodity_forecast",
    "conditional_deployment",
    "flaky",
    "hello_world",
    "iris",
    "production",
    "signed_report",
)


def components(name: str) -> dict[str, str]:
    """The text of each function that is decorated with `@dsl.component`, by its name."""
    text = (PIPELINES / f"{name}.py").read_text()
    return {
        function.name: cast("str", ast.get_source_segment(text, function))
        for function in ast.parse(text).body
        if isinstance(function, ast.FunctionDef)
        and any("dsl.component" in ast.unparse(decorator) for decorator in function.decorator_list)
    }


def compiled(name: str) -> dict[str, Any]:
    """The pipeline's own document, which its Kubernetes configuration may follow."""
    text = (PIPELINES / "compiled" / f"{name}.yaml").read_text()
    return cast("dict[str, Any]", next(iter(yaml.safe_load_all(text))))


def containers(name: str) -> Iterator[tuple[str, str]]:
    """Of each executor: the function that it runs, and all of its command."""
    executors = cast("dict[str, dict[str, Any]]", compiled(name)["deploymentSpec"]["executors"])
    for executor in executors.values():
        container = cast("dict[str, list[str]]", executor["container"])
        arguments = container["args"]
        function = arguments[arguments.index("--function_to_execute") + 1]
        yield function, "\n".join(container["command"])


def test_every_source_has_a_compiled_file_and_every_compiled_file_a_source() -> None:
    sources = {path.stem for path in PIPELINES.glob("*.py")} - {"compile"}
    assert sources == set(NAMES)
    assert {path.stem for path in (PIPELINES / "compiled").iterdir()} == set(NAMES)


@pytest.mark.parametrize("name", NAMES)
def test_a_compiled_pipeline_is_an_ir_document_named_after_its_source(name: str) -> None:
    document = compiled(name)
    assert document["schemaVersion"] == "2.1.0"
    assert document["pipelineInfo"]["name"] == name.replace("_", "-")


@pytest.mark.parametrize("name", NAMES)
def test_a_compiled_pipeline_runs_every_component_of_its_source_and_no_other(name: str) -> None:
    assert {function for function, _ in containers(name)} == set(components(name))


@pytest.mark.parametrize("name", NAMES)
def test_a_compiled_component_carries_the_code_that_its_source_has_now(name: str) -> None:
    written = components(name)
    stale = [function for function, command in containers(name) if written[function] not in command]
    assert stale == [], "run dags/pipelines/compile.py"


def test_one_environment_serves_every_component_that_trains() -> None:
    installs = {
        line.strip()
        for name in NAMES
        for _, command in containers(name)
        for line in command.splitlines()
        if "scikit-learn" in line and "pip install" in line
    }
    assert len(installs) == 1


def test_the_readme_lists_every_pipeline() -> None:
    readme = (PIPELINES / "README.md").read_text()
    assert [name for name in NAMES if f"[{name}]({name}.py)" not in readme] == []

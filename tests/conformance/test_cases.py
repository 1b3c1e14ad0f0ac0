"""The cases themselves: well-formed, and complete against the corpus where it is at hand."""

from __future__ import annotations

import json
import os
import re
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, fields
from itertools import product
from pathlib import Path
from typing import cast

import pytest
import yaml

from tests.conformance.case import (
    MATCHERS,
    OWN,
    Alternative,
    Case,
    Expectation,
    Json,
    OnPods,
    Struct,
    fits,
    load_cases,
    matcher_of,
    raw_cases,
)

CORPUS = os.environ.get("PENSTOCK_TEST_KFP_CORPUS", "")
STATES = {"SUCCEEDED", "FAILED", "SKIPPED"}
PATH = re.compile(r"[a-z0-9][a-z0-9-]*(\[\d+\])?(/[a-z0-9][a-z0-9-]*(\[\d+\])?)*")
RECORD_KEYS = {"state", "outputs"}
ARTIFACT_KEYS = {"text", "contains", "files", "uri", "metadata"}

RAW = [*raw_cases(), *raw_cases(OWN / "cases")]
LOADED = load_cases()
LOADED_OWN = load_cases(OWN / "cases")
with_corpus = pytest.mark.skipif(not CORPUS, reason="PENSTOCK_TEST_KFP_CORPUS names no corpus")
by_file = pytest.mark.parametrize("case", [*LOADED, *LOADED_OWN], ids=lambda case: cast(Case, case).file)
by_corpus_file = pytest.mark.parametrize("case", LOADED, ids=lambda case: cast(Case, case).file)
by_pipeline = pytest.mark.parametrize(
    "case",
    [*(pytest.param(one, marks=with_corpus) for one in LOADED), *LOADED_OWN],
    ids=lambda case: cast(Case, case).file,
)


# without the corpus


def test_there_is_one_case_a_file() -> None:
    files = [case.file for case in [*LOADED, *LOADED_OWN]]
    assert len(files) == len(set(files))


def test_only_known_keys_are_used() -> None:
    known = {one.name for one in fields(Case)}
    inner = {one.name for one in fields(Alternative)}
    on_pods = {one.name for one in fields(OnPods)}
    for path, raw in RAW:
        assert raw.keys() <= known, f"{path.name}: {raw['file']}"
        assert cast("Struct", raw.get("on_pods", {})).keys() <= on_pods, f"{path.name}: {raw['file']}"
        for alternative in cast("list[Struct]", raw.get("alternatives", [])):
            assert alternative.keys() <= inner, f"{path.name}: {raw['file']}"


def test_each_case_stands_in_the_file_of_its_folder_prefix() -> None:
    for path, raw in RAW:
        assert cast(str, raw["file"]).startswith(path.stem), f"{raw['file']} in {path.name}"


@by_file
def test_a_case_says_why(case: Case) -> None:
    assert len(case.reason) > 4
    assert case.state in STATES - {"SKIPPED"}
    assert case.tasks


@by_file
def test_task_paths_and_records_are_well_formed(case: Case) -> None:
    for where in [case, *case.alternatives]:
        for path, record in where.tasks.items():
            assert PATH.fullmatch(path), path
            assert record.keys() <= RECORD_KEYS
            state = record["state"]
            assert isinstance(state, dict) or state in STATES
        for path in [*where.artifacts, *where.logs]:
            assert path == "" or PATH.fullmatch(path), path


@by_file
def test_what_is_otherwise_on_pods_are_tasks_of_the_case(case: Case) -> None:
    if case.on_pods is not None:
        assert len(case.on_pods.reason) > 4
        assert case.on_pods.tasks.keys() <= case.tasks.keys()
        assert case.on_pods.state in STATES - {"SKIPPED"}


@by_file
def test_artifacts_and_logs_belong_to_tasks_that_ran(case: Case) -> None:
    for merged in worlds(case):
        for path in [*merged.artifacts, *merged.logs]:
            assert path == "" or merged.tasks[path]["state"] != "SKIPPED", path
        for artifacts in merged.artifacts.values():
            for value in artifacts.values():
                for one in value if isinstance(value, list) else [value]:
                    assert isinstance(one, dict) and one and one.keys() <= ARTIFACT_KEYS


@by_file
def test_matchers_are_known_and_name_tasks(case: Case) -> None:
    paths = set(case.tasks) | {path for one in case.alternatives for path in one.tasks}
    values = [
        value for one in (case, *case.alternatives) for value in (one.outputs, one.tasks, one.artifacts)
    ]
    values += [one.when for one in case.alternatives]
    for name, argument in matchers(cast(Json, values)):
        assert name in MATCHERS
        if name in {"$from", "$uri"}:
            assert (argument if isinstance(argument, str) else cast("list[str]", argument)[0]) in paths
    for task in [*case.nondeterministic, *case.cached]:
        assert task in paths
    for alternative in case.alternatives:
        assert alternative.when.keys() <= set(case.nondeterministic)


@by_file
def test_a_run_fails_when_and_only_when_a_task_fails(case: Case) -> None:
    for merged in worlds(case):
        failed = {path for path, record in merged.tasks.items() if record["state"] == "FAILED"}
        uncertain = any(isinstance(record["state"], dict) for record in merged.tasks.values())
        if not uncertain:
            assert (merged.state == "FAILED") == bool(failed)
        for path in failed:
            for above in ancestors(path):
                assert merged.tasks[above]["state"] == "FAILED", f"{above} contains {path}"


@by_file
def test_a_task_has_the_records_above_it_and_nothing_lies_inside_a_skipped_one(case: Case) -> None:
    for merged in worlds(case):
        for path in merged.tasks:
            for above in ancestors(path):
                assert above in merged.tasks, f"{path} without {above}"
                assert merged.tasks[above]["state"] != "SKIPPED", f"{path} in {above}"


@by_file
def test_placeholders_for_files_are_arguments_or_given(case: Case) -> None:
    assert case.files.keys() <= case.arguments.keys()
    for path in case.given:
        assert path in json.dumps(case.arguments)
    assert bool(case.cached) == (case.runs == 2)


@dataclass(frozen=True)
class Fake:
    """What a run did, for the matchers' own tests."""

    outputs: Mapping[str, Json]

    def state(self, task: str) -> str | None:
        return "SUCCEEDED" if task in self.outputs else None

    def output(self, task: str) -> Json:
        return self.outputs[task]

    def uri(self, task: str, artifact: str) -> str | None:
        return f"/root/{task}/{artifact}" if task in self.outputs else None


@pytest.mark.parametrize(
    ("expected", "actual", "fit"),
    [
        (11, 11.0, True),
        (1, True, False),
        ({"a": 1}, {"a": 1, "b": 2}, False),
        ([1, 2], [2, 1], False),
        ({"$any": ["heads", "tails"]}, "tails", True),
        ({"$any": ["heads", "tails"]}, "edge", False),
        ({"$range": [0, 4998, 2]}, 4998, True),
        ({"$range": [0, 4998, 2]}, 3, False),
        ({"$range": [80, 100]}, 92.5, True),
        ({"$range": [80, 100]}, "92", False),
        ([{"$from": "coin"}], ["heads"], True),
        ({"$from": "coin"}, "tails", False),
        ({"$uri": ["coin", "side"]}, "/root/coin/side", True),
        ({"$uri": ["missing", "side"]}, None, False),
        ({"$text": ".+"}, "x\ny", True),
        ({"$text": ".+"}, "", False),
    ],
)
def test_matchers_fit_what_they_say(expected: Json, actual: Json, fit: bool) -> None:
    assert fits(expected, actual, Fake({"coin": "heads"})) is fit


def test_an_unknown_matcher_is_an_error() -> None:
    with pytest.raises(ValueError, match="not a matcher"):
        fits({"$often": 1}, 1, Fake({}))


def test_alternatives_that_hold_are_laid_over_the_case() -> None:
    case = Case(
        "f",
        "SUCCEEDED",
        {"Output": "?"},
        {"coin": {"state": "SUCCEEDED"}},
        "",
        alternatives=[
            Alternative({"coin": "heads"}, outputs={"Output": "h"}, tasks={"a": {"state": "SKIPPED"}}),
            Alternative({"coin": "tails"}, state="FAILED"),
            Alternative({"coin": "heads", "missing": "x"}, state="FAILED"),
        ],
    )
    merged = case.expected(Fake({"coin": "heads"}))
    assert (merged.state, merged.outputs) == ("SUCCEEDED", {"Output": "h"})
    assert merged.tasks == {"coin": {"state": "SUCCEEDED"}, "a": {"state": "SKIPPED"}}


# with the corpus


@with_corpus
def test_every_pipeline_of_classes_a_and_b_has_a_case() -> None:
    wanted = {file for file, row in corpus().items() if row["class"] in {"A", "B"}}
    assert wanted <= {case.file for case in LOADED}
    assert {case.file for case in LOADED} <= corpus().keys()


@with_corpus
@by_corpus_file
def test_the_state_is_the_expected_one_or_says_why_not(case: Case) -> None:
    agrees = case.state == corpus()[case.file]["state"]
    assert agrees or case.disagrees
    assert not (agrees and case.disagrees)


@by_pipeline
def test_required_arguments_are_given_and_no_unknown_ones(case: Case) -> None:
    ir = Ir(case.file)
    inputs = cast("dict[str, Structs_]", ir.root.get("inputDefinitions", {}))
    declared = {**inputs.get("parameters", {}), **inputs.get("artifacts", {})}
    required = {
        name for name, one in declared.items() if not one.get("isOptional") and "defaultValue" not in one
    }
    assert required - ir.preset <= case.arguments.keys() <= declared.keys()


@by_pipeline
def test_the_tasks_are_exactly_those_of_the_ir(case: Case) -> None:
    """In each world: all children of each DAG and iteration that ran; iterations from 0 on; no others."""
    ir = Ir(case.file)
    for merged in worlds(case):
        assert set(merged.tasks) == set(ir.records(merged.tasks))


@by_pipeline
def test_a_static_loop_has_an_iteration_for_each_of_its_items(case: Case) -> None:
    ir = Ir(case.file)
    for merged in worlds(case):
        for path, record in merged.tasks.items():
            iterator = cast(Structs_, ir.task(path).get("parameterIterator", {}))
            raw = iterator.get("items", {}).get("raw")
            if isinstance(raw, str) and not path.endswith("]") and record["state"] != "SKIPPED":
                found = [one for one in merged.tasks if one.startswith(f"{path}[") and one.endswith("]")]
                direct = [one for one in found if "/" not in one.removeprefix(path)]
                assert len(direct) == len(cast("list[Json]", json.loads(raw))), path


@by_pipeline
def test_outputs_are_the_declared_ones_of_each_task_that_succeeded(case: Case) -> None:
    ir = Ir(case.file)
    for merged in worlds(case):
        for path, record in merged.tasks.items():
            if path.endswith("]") or isinstance(record["state"], dict):
                continue
            declared = names(ir.component(path), "parameters")
            found = set(cast(Struct, record.get("outputs", {})))
            assert found == (declared if record["state"] == "SUCCEEDED" else set()), path
        for path, artifacts in merged.artifacts.items():
            assert artifacts.keys() <= names(ir.component(path), "artifacts"), path
        if merged.state == "SUCCEEDED":
            assert merged.outputs.keys() == names(ir.root, "parameters")
        else:
            assert merged.outputs.keys() <= names(ir.root, "parameters")


@by_pipeline
def test_tasks_expected_from_the_cache_allow_caching(case: Case) -> None:
    ir = Ir(case.file)
    for path in case.cached:
        assert cast(Struct, ir.task(path)["cachingOptions"])["enableCache"] is True


Structs_ = dict[str, Struct]


class Ir:
    def __init__(self, file: str) -> None:
        folder = OWN if (OWN / "pipelines" / file).exists() else Path(CORPUS)
        text = (folder / "pipelines" / file).read_text("utf-8")
        document = cast(Struct, next(iter(yaml.load_all(text, yaml.CSafeLoader))))
        spec = cast(Struct, document.get("pipelineSpec") or document.get("pipeline_spec") or document)
        self.root = cast(Struct, spec["root"])
        config = cast(Structs_, document.get("runtimeConfig", {}))
        self.preset = {*config.get("parameters", {}), *config.get("parameterValues", {})}
        self._components = cast(Structs_, spec["components"])

    def children(self, component: Struct) -> Structs_:
        return cast(Structs_, cast(Struct, component["dag"])["tasks"])

    def of(self, task: Struct) -> Struct:
        return self._components[cast("dict[str, str]", task["componentRef"])["name"]]

    def task(self, path: str) -> Struct:
        """Raises KeyError for a path that the IR does not have."""
        component, task = self.root, {}
        for step in path.split("/"):
            task = self.children(component)[step.partition("[")[0]]
            component = self.of(task)
        return task

    def component(self, path: str) -> Struct:
        return self.of(self.task(path)) if path else self.root

    def records(self, tasks: Structs_) -> Iterator[str]:
        yield from self._inside(self.root, "", tasks)

    def _inside(self, component: Struct, prefix: str, tasks: Structs_) -> Iterator[str]:
        for name, task in self.children(component).items():
            path = prefix + name
            yield path
            inner = self.of(task)
            if path not in tasks or tasks[path]["state"] == "SKIPPED" or "dag" not in inner:
                continue
            if "parameterIterator" in task or "artifactIterator" in task:
                index = 0
                while f"{path}[{index}]" in tasks:
                    yield f"{path}[{index}]"
                    yield from self._inside(inner, f"{path}[{index}]/", tasks)
                    index += 1
            else:
                yield from self._inside(inner, f"{path}/", tasks)


def names(component: Struct, kind: str) -> set[str]:
    return set(cast(Structs_, component.get("outputDefinitions", {})).get(kind, {}))


def corpus() -> dict[str, dict[str, str]]:
    rows = cast("list[dict[str, str]]", json.loads((Path(CORPUS) / "expected.json").read_text("utf-8")))
    return {row["file"].removeprefix("pipelines/"): row for row in rows}


def worlds(case: Case) -> Iterator[Expectation]:
    """Every combination of the values that `when` clauses name, merged as for a run with these values."""
    values: dict[str, list[Json]] = {}
    for alternative in case.alternatives:
        for task, wanted in alternative.when.items():
            known = values.setdefault(task, [])
            if wanted not in known:
                known.append(wanted)
    for chosen in product(*values.values()):
        world = dict(zip(values, chosen, strict=True))
        holding: list[Alternative] = []
        for alternative in case.alternatives:
            there = case.merged(holding).tasks
            if all(task in there and world[task] == wanted for task, wanted in alternative.when.items()):
                holding.append(alternative)
        yield case.merged(holding)


def ancestors(path: str) -> Iterator[str]:
    while path:
        path = path[: path.rindex("[")] if path.endswith("]") else path.rpartition("/")[0]
        if path:
            yield path


def matchers(value: Json) -> Iterator[tuple[str, Json]]:
    found = matcher_of(value)
    if found is not None:
        yield found
    for inner in value.values() if isinstance(value, dict) else value if isinstance(value, list) else []:
        yield from matchers(inner)

"""Holds what a run did against its case, and says every difference."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import cast

from penstock.execution.result import OutputArtifact, Run, TaskResult
from tests.conformance.case import Case, Expectation, Json, fits


@dataclass(frozen=True, slots=True)
class Observed:
    """A finished run in the case's own names. `read_log` gives a task's log by its path."""

    run: Run
    tasks: Mapping[str, TaskResult]
    outputs: Mapping[str, object]
    read_log: Callable[[str], str]

    def state(self, task: str) -> str | None:
        found = self.tasks.get(task)
        return found.state.value if found else None

    def output(self, task: str) -> Json:
        found = self.tasks.get(task)
        values = list(parameters(found.outputs).values()) if found else []
        return values[0] if len(values) == 1 else None

    def uri(self, task: str, artifact: str) -> str | None:
        found = self.tasks.get(task)
        value = found.outputs.get(artifact) if found else None
        if not isinstance(value, OutputArtifact):
            return None
        return str(value.path) if value.uri.startswith("file:") else value.uri


def parameters(outputs: Mapping[str, object]) -> dict[str, Json]:
    """The output parameters among the outputs of a task."""

    def is_artifact(value: object) -> bool:
        many = cast("list[object]", value) if isinstance(value, list) else [value]
        return bool(many) and all(isinstance(one, OutputArtifact) for one in many)

    return {name: cast("Json", value) for name, value in outputs.items() if not is_artifact(value)}


def differences(case: Case, seen: Observed, artifact_outputs: frozenset[str]) -> list[str]:
    """One sentence for each thing that is not as the case says; none when the run conforms.

    `artifact_outputs` names outputs that are artifact lists and may be empty, so that `[]` is not read as a
    parameter.
    """
    expected = case.expected(seen)
    found = list(_states(expected, seen))
    found.extend(_outputs("the run", expected.outputs, dict(seen.outputs), seen, artifact_outputs))
    for path, wanted in expected.tasks.items():
        task = seen.tasks.get(path)
        if task is not None and "outputs" in wanted:
            outputs = cast("Mapping[str, Json]", wanted["outputs"])
            found.extend(_outputs(path, outputs, task.outputs, seen, artifact_outputs))
    for path, wanted in expected.artifacts.items():
        outputs = seen.outputs if path == "" else seen.tasks[path].outputs if path in seen.tasks else {}
        for name, content in wanted.items():
            found.extend(_artifact(f"{path}.{name}", content, outputs.get(name), seen))
    for path, texts in expected.logs.items():
        if path in seen.tasks and seen.tasks[path].cached:
            continue
        log = seen.read_log(path)
        found.extend(
            f"the log of {path} lacks {text!r}; it is {log[-600:]!r}" for text in texts if text not in log
        )
    return found


def _states(expected: Expectation, seen: Observed) -> Iterator[str]:
    if not fits(expected.state, seen.run.state.value, seen):
        yield f"the run ended {seen.run.state.value} ({seen.run.error}), not {expected.state}"
    for path, wanted in expected.tasks.items():
        task = seen.tasks.get(path)
        if task is None:
            yield f"{path} has no record"
        elif not fits(wanted["state"], task.state.value, seen):
            yield f"{path} is {task.state.value} ({task.error}), not {wanted['state']}"
    for path in seen.tasks:
        if path not in expected.tasks:
            yield f"{path} has a record ({seen.tasks[path].state.value}) that the case does not have"


def _outputs(
    where: str,
    wanted: Mapping[str, Json],
    actual: Mapping[str, object],
    seen: Observed,
    lists: frozenset[str],
) -> Iterator[str]:
    values = {
        name: value for name, value in parameters(actual).items() if not (value == [] and name in lists)
    }
    if not fits(dict(wanted), values, seen):
        yield f"{where} put out {values!r}, not {dict(wanted)!r}"


def _artifact(where: str, wanted: Json, actual: object, seen: Observed) -> Iterator[str]:
    if isinstance(wanted, list):
        many = cast("list[object]", actual) if isinstance(actual, list) else []
        if len(many) != len(wanted):
            yield f"{where} is {actual!r}, not a list of {len(wanted)}"
            return
        for index, (one, other) in enumerate(zip(wanted, many, strict=True)):
            yield from _artifact(f"{where}[{index}]", one, other, seen)
        return
    if not isinstance(actual, OutputArtifact):
        yield f"{where} is {actual!r}, not an artifact"
        return
    for key, value in cast("dict[str, Json]", wanted).items():
        yield from _property(where, key, value, actual, seen)


def _property(where: str, key: str, wanted: Json, actual: OutputArtifact, seen: Observed) -> Iterator[str]:
    match key:
        case "text":
            text = actual.path.read_text("utf-8")
            if not fits(wanted, text, seen):
                yield f"{where} holds {text!r}, not {wanted!r}"
        case "contains":
            text = actual.path.read_text("utf-8")
            yield from (f"{where} lacks {part!r}" for part in cast("list[str]", wanted) if part not in text)
        case "files":
            files: Json = {
                str(one.relative_to(actual.path)): one.read_text("utf-8") for one in _files(actual.path)
            }
            if not fits(wanted, files, seen):
                yield f"{where} holds {files!r}, not {wanted!r}"
        case "uri":
            if not fits(wanted, actual.uri, seen):
                yield f"{where} is at {actual.uri}, not {wanted!r}"
        case "metadata":
            metadata = cast("dict[str, Json]", dict(actual.metadata))
            for name, value in cast("dict[str, Json]", wanted).items():
                if name not in metadata or not fits(value, metadata[name], seen):
                    yield f"{where} has metadata {metadata!r}, without {name} = {value!r}"
        case _:
            raise ValueError(f"{key} is not a property of artifacts in the conformance cases")


def _files(folder: Path) -> list[Path]:
    return sorted(one for one in folder.rglob("*") if one.is_file())

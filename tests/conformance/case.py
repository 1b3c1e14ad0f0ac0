"""The conformance cases as data, and what their matchers mean (see README.md)."""

from __future__ import annotations

import re
from collections.abc import Iterator
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Protocol, TypeAlias, cast

import yaml

Json: TypeAlias = "bool | int | float | str | list[Json] | dict[str, Json] | None"
Struct: TypeAlias = "dict[str, Json]"
Structs: TypeAlias = "dict[str, Struct]"

CASES = Path(__file__).parent / "cases"
OWN = Path(__file__).parent / "own"
"""Pipelines of our own, with their cases; the corpus' lie elsewhere."""
MATCHERS = frozenset({"$any", "$range", "$from", "$uri", "$text", "$state"})
TEMPORARY = "$TMP"
"""Stands in arguments and in `given` for a fresh folder of this run of the case."""


class Seen(Protocol):
    """What a run really did, as far as matchers ask: None for what does not exist."""

    def state(self, task: str) -> str | None: ...

    def output(self, task: str) -> Json:
        """The value of the task's only output parameter."""
        ...

    def uri(self, task: str, artifact: str) -> str | None: ...


@dataclass(frozen=True, slots=True)
class Expectation:
    """What to compare a run with: `state` and each task's state and outputs may be matchers."""

    state: str
    outputs: Struct
    tasks: Structs
    artifacts: Structs
    logs: dict[str, list[str]]


@dataclass(frozen=True, slots=True)
class Alternative:
    when: Struct
    state: str | None = None
    outputs: Struct | None = None
    tasks: Structs = field(default_factory=dict[str, Struct])
    artifacts: Structs = field(default_factory=dict[str, Struct])
    logs: dict[str, list[str]] = field(default_factory=dict[str, list[str]])


@dataclass(frozen=True, slots=True)
class OnPods:
    """What is otherwise where each task is a pod: of another machine, and one that a cluster may refuse."""

    state: str
    tasks: Structs
    reason: str
    outputs: Struct = field(default_factory=dict[str, Json])
    logs: dict[str, list[str]] = field(default_factory=dict[str, list[str]])


@dataclass(frozen=True, slots=True)
class Case:
    file: str
    state: str
    outputs: Struct
    tasks: Structs
    reason: str
    arguments: Struct = field(default_factory=dict[str, Json])
    artifacts: Structs = field(default_factory=dict[str, Struct])
    logs: dict[str, list[str]] = field(default_factory=dict[str, list[str]])
    nondeterministic: list[str] = field(default_factory=list[str])
    alternatives: list[Alternative] = field(default_factory=list[Alternative])
    given: dict[str, str] = field(default_factory=dict[str, str])
    files: dict[str, str] = field(default_factory=dict[str, str])
    secrets: dict[str, dict[str, str]] = field(default_factory=dict[str, dict[str, str]])
    config_maps: dict[str, dict[str, str]] = field(default_factory=dict[str, dict[str, str]])
    claims: list[str] = field(default_factory=list[str])
    needs: list[str] = field(default_factory=list[str])
    runs: int = 1
    cached: list[str] = field(default_factory=list[str])
    slow: bool = False
    disagrees: str = ""
    on_pods: OnPods | None = None

    def expected(self, seen: Seen) -> Expectation:
        """The expectation after every alternative that holds has been laid over the case, in their order."""
        return self.merged(
            [
                alternative
                for alternative in self.alternatives
                if all(_holds(task, wanted, seen) for task, wanted in alternative.when.items())
            ]
        )

    def merged(self, holding: list[Alternative]) -> Expectation:
        merged = Expectation(
            self.state, self.outputs, dict(self.tasks), dict(self.artifacts), dict(self.logs)
        )
        for one in holding:
            merged = Expectation(
                one.state or merged.state,
                merged.outputs if one.outputs is None else one.outputs,
                merged.tasks | one.tasks,
                merged.artifacts | one.artifacts,
                merged.logs | one.logs,
            )
        return merged


def fits(expected: Json, actual: Json, seen: Seen) -> bool:
    """Whether a value is the expected one, which may be, or hold, matchers. 11 fits 11.0, but 1 not true."""
    matcher = matcher_of(expected)
    if matcher is not None:
        return _matches(*matcher, actual, seen)
    if isinstance(expected, dict):
        return (
            isinstance(actual, dict)
            and expected.keys() == actual.keys()
            and all(fits(value, actual[key], seen) for key, value in expected.items())
        )
    if isinstance(expected, list):
        return (
            isinstance(actual, list)
            and len(expected) == len(actual)
            and all(fits(one, other, seen) for one, other in zip(expected, actual, strict=True))
        )
    if isinstance(expected, bool) or isinstance(actual, bool):
        return expected is actual
    return expected == actual


def matcher_of(value: Json) -> tuple[str, Json] | None:
    """The name and the argument of `{$name: argument}`; None for every other value."""
    if isinstance(value, dict) and len(value) == 1:
        ((name, argument),) = value.items()
        if name.startswith("$"):
            return name, argument
    return None


def load_cases(folder: Path = CASES) -> list[Case]:
    """All cases, in the order of the files. Raises TypeError for a key that Case does not have."""
    return [_case(raw) for _, raw in raw_cases(folder)]


def raw_cases(folder: Path = CASES) -> Iterator[tuple[Path, Struct]]:
    for path in sorted(folder.glob("*.yaml")):
        for raw in cast("list[Struct]", yaml.safe_load(path.read_text("utf-8"))):
            yield path, raw


def _case(raw: Struct) -> Case:
    known = cast("dict[str, Any]", dict(raw))
    known["alternatives"] = [Alternative(**one) for one in known.get("alternatives", [])]
    if "on_pods" in known:
        known["on_pods"] = OnPods(**known["on_pods"])
    return Case(**known)


def _holds(task: str, wanted: Json, seen: Seen) -> bool:
    matcher = matcher_of(wanted)
    if matcher is not None and matcher[0] == "$state":
        return seen.state(task) == matcher[1]
    return seen.state(task) is not None and fits(wanted, seen.output(task), seen)


def _matches(name: str, argument: Json, actual: Json, seen: Seen) -> bool:
    match name, argument:
        case "$any", list():
            return any(fits(one, actual, seen) for one in argument)
        case "$range", [int() | float() as first, int() | float() as last, *rest]:
            if isinstance(actual, bool) or not isinstance(actual, (int, float)):
                return False
            step = rest[0] if rest else None
            return first <= actual <= last and (not isinstance(step, int) or (actual - first) % step == 0)
        case "$from", str():
            return fits(seen.output(argument), actual, seen)
        case "$uri", [str() as task, str() as artifact]:
            return actual is not None and actual == seen.uri(task, artifact)
        case "$text", str():
            return isinstance(actual, str) and re.fullmatch(argument, actual, re.DOTALL) is not None
        case _:
            raise ValueError(f"{name}: {argument!r} is not a matcher of the conformance cases")

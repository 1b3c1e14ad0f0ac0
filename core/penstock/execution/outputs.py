"""What a component says of its outputs, and what of it is recorded: the same wherever it ran."""

from __future__ import annotations

from collections.abc import Callable, Mapping

from penstock.errors import TaskError
from penstock.model import Component, Json, ParameterType
from penstock.planner.values import matches, normalize, parse_json, text_to_value, to_text

MAX_TEXT = 16 << 20
"""Bytes of an executor output, or of one output parameter: beyond, it is an artifact."""


def parse_executor_output(text: str | None, task: str) -> Mapping[str, Json]:
    """The SDK's `output_metadata.json`; empty where the component wrote none. Raises TaskError."""
    if text is None:
        return {}
    where = f"the executor output of task '{task}'"
    said = parse_json(text, where=where)
    if not isinstance(said, dict):
        raise TaskError(f"{where} is not a JSON object; it must be one with parameterValues and artifacts")
    return said


def output_parameters(
    component: Component, said: Mapping[str, Json], read: Callable[[str, str], str | None]
) -> dict[str, Json]:
    """The declared output parameters, from the executor output `said` or else from their files.

    `read` gives the text that the component wrote for an output (its name, and how to call it in an error),
    None where there is no file. SDK 1.8 writes `parameters`: texts, integers and doubles by field. Raises
    TaskError, naming the output.
    """
    values, legacy = object_of(said.get("parameterValues")), object_of(said.get("parameters"))
    found: dict[str, Json] = {}
    for name, parameter in component.interface.output_parameters.items():
        where = f"the output parameter '{name}' of component '{component.name}'"
        if name in values:
            found[name] = _typed(values[name], parameter.type, where)
            continue
        value = next(iter(object_of(legacy.get(name)).values()), None)
        if value is not None and not isinstance(value, str):
            found[name] = _typed(value, parameter.type, where)
            continue
        text = read(name, where) if value is None else value
        if text is None:
            raise TaskError(
                f"component '{component.name}' declares the output parameter '{name}' but did not write it; "
                "return it, or write it to the file of its output path"
            )
        found[name] = text_to_value(text, parameter.type.value, where=where)
    return found


def undeclared(component: Component, said: Mapping[str, Json]) -> dict[str, str]:
    """Notes on outputs that were said but are not declared; they are recorded nowhere."""
    interface = component.interface
    parameters = object_of(said.get("parameterValues")).keys() | object_of(said.get("parameters")).keys()
    extra = {
        "parameters": parameters - interface.output_parameters.keys(),
        "artifacts": object_of(said.get("artifacts")).keys() - interface.output_artifacts.keys(),
    }
    return {f"undeclared_{what}": ", ".join(sorted(names)) for what, names in extra.items() if names}


def said_artifacts(said: Mapping[str, Json], name: str) -> list[dict[str, Json]]:
    """What was said of each artifact of an output: one empty answer where nothing was."""
    listed = object_of(object_of(said.get("artifacts")).get(name)).get("artifacts")
    return [object_of(one) for one in listed] if isinstance(listed, list) else [{}]


def object_of(value: Json) -> dict[str, Json]:
    return value if isinstance(value, dict) else {}


def _typed(value: Json, kind: ParameterType, where: str) -> Json:
    """The executor output carries JSON values; only a text is made of what is none, and a number of a
    boolean, which in Python is one (KFP does neither, nor checks).
    """
    found = normalize(value, where=where)
    if isinstance(found, bool) and kind in (ParameterType.NUMBER_INTEGER, ParameterType.NUMBER_DOUBLE):
        return int(found)
    if kind is ParameterType.STRING and found is not None:
        return to_text(found)
    if not matches(found, kind.value):
        raise TaskError(f"{where} is declared {kind.value} but is {to_text(found)[:80] or 'null'!r}")
    return found

"""What placeholders stand for, in commands, arguments and environment, and in the constants of a document.

KFP: launcher_v2.go and resolve.go for the values, placeholders.py of the SDK for the forms. Unlike there, it
is one pass over the template, before anything is written as JSON: a value that looks like a placeholder, or
that holds quotes or newlines, arrives as it is.
"""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Final

from penstock.errors import ResolutionError
from penstock.model.value import Json
from penstock.planner.templates import RUN_FIELDS, Steps, alone, struct_of, substitute
from penstock.planner.values import excerpt, go_json, to_text

MAX_ESCAPES: Final = 4
"""Levels of `json_escape`; every one may double the text."""

WORKSPACE: Final = "/kfp-workspace"

_CHANNEL: Final = "pipelinechannel--"
_MOUNTS: Final = {"gs": "/gcs/", "minio": "/minio/", "s3": "/s3/"}


def resolve_arguments(
    args: Sequence[Json],
    executor_input: Mapping[str, Json],
    fields: Mapping[str, str],
    *,
    defaults: Mapping[str, Json] | None = None,
    document: Mapping[str, Json] | None = None,
) -> list[str]:
    """The command line that a task is started with.

    An element is a text with placeholders, or a struct as JSON text or as a value: `{"Concat": […]}` or
    `{"IfPresent": {"InputName": …, "Then": …, "Else": …}}`. A branch that is not there drops the element,
    one that is a list becomes several elements. `executor_input` is KFP's ExecutorInput, `fields` holds the
    run-level values by the names of RUN_FIELDS. `defaults` are those of the component's parameters: they
    fill placeholders, as in KFP's launcher, but do not make an input present. `document` is what `{{$}}`
    stands for, where that is another ExecutorInput. Raises ResolutionError.
    """
    scope = _Scope(dict(executor_input), fields, defaults or {}, document)
    found: list[str] = []
    for element in args:
        struct = struct_of(element) if isinstance(element, str) else None
        found += scope.expand(element if struct is None else struct)
    return found


def resolve_text(
    template: str,
    executor_input: Mapping[str, Json],
    fields: Mapping[str, str],
    *,
    defaults: Mapping[str, Json] | None = None,
    document: Mapping[str, Json] | None = None,
) -> str:
    """One text with its placeholders replaced: the value of an environment variable, an image, a resource."""
    return substitute(template, _Scope(dict(executor_input), fields, defaults or {}, document).replace)


def resolve_constant(template: Json, parameters: Mapping[str, Json], fields: Mapping[str, str]) -> Json:
    """A `runtimeValue` constant of the document, with the values of the task's other inputs put in.

    The compiler writes f-strings as constants that hold `{{$.inputs.parameters['pipelinechannel--x']}}`. A
    constant that is nothing else becomes the value itself; any other gets its text, also within lists and
    structs, keys included. Run-level placeholders work anywhere in a text (KFP: only as the whole of it).
    Raises ResolutionError for a channel without a value; what names none of the task's inputs is left alone.
    """
    if isinstance(template, str):
        match alone(template):
            case ["inputs", "parameters", str(name)] if parameters.get(name) is not None:
                return parameters[name]
            case _:
                return _constant_text(template, parameters, fields)
    if isinstance(template, list):
        return [_inner_constant(item, parameters, fields) for item in template]
    if isinstance(template, dict):
        return {
            _constant_text(key, parameters, fields): _inner_constant(item, parameters, fields)
            for key, item in template.items()
        }
    return template


def local_path(uri: str, metadata: Mapping[str, Json] | None = None, *, workspace: str = WORKSPACE) -> str:
    """Where a container finds an artifact, as launcher and SDK agree; "" when they know no place for it.

    A URI that is an absolute path, or a `file://` one, is its own place.
    """
    scheme, mark, rest = uri.partition("://")
    if not mark:
        return uri if uri.startswith("/") else ""
    if scheme == "file":
        return rest if rest.startswith("/") else ""
    if scheme == "oci":
        return f"/oci/{rest.replace('/', '_')}/models"
    if scheme not in _MOUNTS:
        return ""
    if metadata and metadata.get("_kfp_workspace") is True:
        return f"{workspace}/.artifacts/{rest}"
    return _MOUNTS[scheme] + rest


@dataclass(slots=True)
class _Scope:
    """What the placeholders of one task stand for."""

    executor_input: dict[str, Json]
    fields: Mapping[str, str]
    defaults: Mapping[str, Json]
    document: Mapping[str, Json] | None = None
    _document: str = field(default="", init=False)

    def expand(self, element: Json) -> list[str]:
        if isinstance(element, str):
            return [substitute(element, self.replace)]
        if isinstance(element, list):
            return [text for item in element for text in self.expand(item)]
        if not isinstance(element, dict):
            return [] if element is None else [to_text(element)]
        match element:
            case {"Concat": list(items)} if len(element) == 1:
                return ["".join(text for item in items for text in self.expand(item))]
            case {"IfPresent": {"InputName": str(name), **branches}} if len(element) == 1:
                return self.expand(branches.get("Then" if self._is_present(name) else "Else"))
            case _:
                raise ResolutionError(
                    "an argument is neither a text nor a Concat or IfPresent as KFP's compiler writes them: "
                    + excerpt(element)
                )

    def replace(self, steps: Steps, whole: str) -> str | None:
        """The text that a placeholder stands for; None when it is none of KFP's."""
        escapes = 0
        match steps:
            case [*head, "json_escape", int(escapes)]:
                steps = head
            case _:
                pass
        if escapes > MAX_ESCAPES:
            raise ResolutionError(f"{whole} escapes more than {MAX_ESCAPES} times")
        found = self._find(steps, whole)
        if found is not None:
            for _ in range(escapes):
                found = json.dumps(found, ensure_ascii=False)[1:-1]
        return found

    def _find(self, steps: Steps, whole: str) -> str | None:
        match steps:
            case []:
                return self._executor_input()
            case ["inputs", "parameters", str(name)]:
                return self._parameter(name, whole)
            case ["outputs", "parameters", str(name), "output_file"]:
                return self._file(
                    _at(self.executor_input, "outputs", "parameters", name, "outputFile"), whole
                )
            case ["outputs", "output_file" | "output_metadata_uri"] | ["outputMetadataUri"]:
                return self._file(_at(self.executor_input, "outputs", "outputFile"), whole)
            case ["inputs" | "outputs" as side, "artifacts", str(name), *rest]:
                return self._artifact(side, name, rest, whole)
            case ["inputs" | "outputs", *_]:
                raise _unknown(whole)
            case [str(name)] if name in RUN_FIELDS:
                return _run_field(name, self.fields, whole)
            case _:
                return None

    def _is_present(self, name: str) -> bool:
        for way in (("inputs", "parameterValues"), ("outputs", "parameters"), ("outputs", "artifacts")):
            if _at(self.executor_input, *way, name) is not None:
                return True
        return bool(_at(self.executor_input, "inputs", "artifacts", name, "artifacts"))

    def _executor_input(self) -> str:
        if not self._document:
            message = dict(self.executor_input if self.document is None else self.document)
            inputs = dict(_object(message.get("inputs")))
            given = dict(_object(inputs.get("parameterValues")))
            absent = [name for name in self.defaults if self.defaults[name] is not None and name not in given]
            if absent:
                given.update({name: self.defaults[name] for name in absent})
                inputs["parameterValues"] = given
                message["inputs"] = inputs
            self._document = go_json(message)
        return self._document

    def _parameter(self, name: str, whole: str) -> str:
        value = _at(self.executor_input, "inputs", "parameterValues", name)
        if value is None:
            value = self.defaults.get(name)
        if value is None:
            raise _missing(whole, f"input '{name}' was not given and has no default")
        return to_text(value)

    def _artifact(self, side: str, name: str, rest: Steps, whole: str) -> str:
        artifacts = _at(self.executor_input, side, "artifacts", name, "artifacts")
        if not isinstance(artifacts, list):
            raise _missing(whole, f"there is no {side[:-1]} artifact '{name}'")
        index = 0
        match rest:
            case []:
                return go_json(artifacts)
            case [int(index), *rest]:
                pass
            case _:
                pass
        if index >= len(artifacts):
            raise _missing(whole, f"{side[:-1]} '{name}' holds {len(artifacts)} artifacts")
        artifact = _object(artifacts[index])
        match rest:
            case []:
                return go_json(artifact)
            case ["uri" | "name" as key]:
                return to_text(artifact.get(key))
            case ["path"]:
                return self._path(artifact, whole)
            case ["metadata" | "type" as key, *keys]:
                value = _at(artifact, key, *keys)
                if value is None and keys:
                    raise _missing(whole, f"artifact '{name}' has no such {key}")
                return to_text({} if value is None else value)
            case _:
                raise _unknown(whole)

    def _path(self, artifact: Mapping[str, Json], whole: str) -> str:
        if custom := artifact.get("customPath"):
            return to_text(custom)
        uri = to_text(artifact.get("uri"))
        workspace = self.fields.get("workspace_path") or WORKSPACE
        path = local_path(uri, _object(artifact.get("metadata")), workspace=workspace)
        if not path:
            raise _missing(whole, f"the artifact at {excerpt(uri)} has no local path")
        return path

    def _file(self, value: Json, whole: str) -> str:
        if not isinstance(value, str):
            raise _missing(whole, "the component declares no such output")
        return value


def _constant_text(template: str, parameters: Mapping[str, Json], fields: Mapping[str, str]) -> str:
    def replace(steps: Steps, whole: str) -> str | None:
        match steps:
            case ["inputs", "parameters", str(name)]:
                value = parameters.get(name)
                if value is not None:
                    return to_text(value)
                if name.startswith(_CHANNEL):
                    raise _missing(whole, "nothing came through this channel")
                return None
            case [str(name)] if name in RUN_FIELDS:
                return _run_field(name, fields, whole)
            case _:
                return None

    return substitute(template, replace)


def _inner_constant(template: Json, parameters: Mapping[str, Json], fields: Mapping[str, str]) -> Json:
    """Within a list or struct KFP replaces inside the quotes of the JSON, so that a text stays a text."""
    if isinstance(template, str):
        return _constant_text(template, parameters, fields)
    return resolve_constant(template, parameters, fields)


def _run_field(name: str, fields: Mapping[str, str], whole: str) -> str:
    if name not in fields:
        what = "the pipeline has no workspace" if name == "workspace_path" else "it is not known here"
        raise _missing(whole, what)
    return fields[name]


def _missing(whole: str, why: str) -> ResolutionError:
    return ResolutionError(f"{whole} has no value: {why}")


def _unknown(whole: str) -> ResolutionError:
    return ResolutionError(f"{whole} is not a placeholder that KFP defines")


def _object(value: Json) -> dict[str, Json]:
    return value if isinstance(value, dict) else {}


def _at(value: Json, *keys: str | int) -> Json:
    """The value below, or None where the way ends."""
    for key in keys:
        if isinstance(value, dict) and isinstance(key, str):
            value = value.get(key)
        elif isinstance(value, list) and isinstance(key, int) and key < len(value):
            value = value[key]
        else:
            return None
    return value

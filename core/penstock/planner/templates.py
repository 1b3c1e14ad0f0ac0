"""The grammar of KFP's placeholders: `{{$…}}` in texts, and Concat and IfPresent around them.

Text in double braces that does not follow it is no placeholder (`{{$.a b}}` in a shell script) and stays as
it is.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass
from typing import Final, TypeAlias

from penstock.model.value import Json
from penstock.planner.values import parse_json

RUN_FIELDS: Final = frozenset(
    {
        "pipeline_job_name",
        "pipeline_job_resource_name",
        "pipeline_job_uuid",
        "pipeline_job_create_time_utc",
        "pipeline_job_schedule_time_utc",
        "pipeline_task_name",
        "pipeline_task_uuid",
        "pipeline_root",
        "workspace_path",
    }
)
"""The run-level placeholders by name: `pipeline_root` is `{{$.pipeline_root}}`."""

Steps: TypeAlias = "list[str | int]"
"""Where a placeholder points: `{{$.inputs.artifacts['x'].uri}}` is `inputs`, `artifacts`, `x`, `uri`."""

_PLACEHOLDER: Final = re.compile(
    r"""\{\{\$((?:\.\w+|\[(?:''[^']*''|'[^']*'|\\"[^"\\]*\\"|"[^"]*"|[0-9]{1,9})\])*)\}\}"""
)
_STEP: Final = re.compile(r"""\.(\w+)|\[([0-9]+)\]|\[(?:''|'|\\"|")(.*?)(?:''|'|\\"|")\]""", re.DOTALL)
_STRUCT: Final = re.compile(r'\s*\{\s*"(?:Concat|IfPresent)"\s*:')


@dataclass(frozen=True, slots=True)
class References:
    """The names that templates refer to. `tested` are those that an IfPresent asks for."""

    input_parameters: frozenset[str] = frozenset()
    input_artifacts: frozenset[str] = frozenset()
    output_parameters: frozenset[str] = frozenset()
    output_artifacts: frozenset[str] = frozenset()
    tested: frozenset[str] = frozenset()


def substitute(template: str, replace: Callable[[Steps, str], str | None]) -> str:
    """The text with every placeholder replaced, in one pass: what is put in is not looked at again.

    `replace` gets the way and the whole text of a placeholder; None leaves it standing.
    """
    if "{{$" not in template:
        return template

    def one(match: re.Match[str]) -> str:
        found = replace(_steps(match[1]), match[0])
        return match[0] if found is None else found

    return _PLACEHOLDER.sub(one, template)


def alone(template: str) -> Steps | None:
    """The way of the placeholder that is the whole of the text, if one is."""
    match = _PLACEHOLDER.fullmatch(template)
    return None if match is None else _steps(match[1])


def struct_of(text: str) -> dict[str, Json] | None:
    """The Concat or IfPresent that the compiler wrote into an argument as JSON; None for any other text.

    Raises ResolutionError for one that is broken off.
    """
    if not _STRUCT.match(text):
        return None
    parsed = parse_json(text, where="an argument that begins like a Concat or IfPresent")
    return parsed if isinstance(parsed, dict) and len(parsed) == 1 else None


def references(templates: Iterable[Json]) -> References:
    """The names that command lines and constants refer to, for a loader that refuses unknown ones."""
    found: dict[tuple[str, str], set[str]] = {}
    tested: set[str] = set()
    for template in templates:
        for text in _texts(template, tested):
            for match in _PLACEHOLDER.finditer(text):
                match _steps(match[1]):
                    case [str(side), str(kind), str(name), *_]:
                        found.setdefault((side, kind), set()).add(name)
                    case _:
                        pass
    return References(
        frozenset(found.get(("inputs", "parameters"), ())),
        frozenset(found.get(("inputs", "artifacts"), ())),
        frozenset(found.get(("outputs", "parameters"), ())),
        frozenset(found.get(("outputs", "artifacts"), ())),
        frozenset(tested),
    )


def _steps(path: str) -> Steps:
    return [int(index) if index else name or key for name, index, key in _STEP.findall(path)]


def _texts(template: Json, tested: set[str]) -> Iterator[str]:
    if isinstance(template, str):
        struct = struct_of(template)
        if struct is None:
            yield template
        else:
            yield from _texts(struct, tested)
    elif isinstance(template, list):
        for item in template:
            yield from _texts(item, tested)
    elif isinstance(template, dict):
        match template:
            case {"IfPresent": {"InputName": str(name)}}:
                tested.add(name)
            case _:
                pass
        for key, item in template.items():
            yield key
            yield from _texts(item, tested)

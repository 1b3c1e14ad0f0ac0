"""YAML text to JSON values: libyaml's events, and a constructor that is strict where YAML is not.

Differences from PyYAML's safe loader, all on the side of what KFP's API server reads:
- a key is a text, and given once; keys that are no plain texts are refused;
- only the tags of JSON are known: anything else (`!!python/…`, `!!binary`, `!!set`, …) is refused;
- unquoted dates (2024-01-31) and base-60 numbers (1:30) are texts;
- aliases cost what they stand for: a document may not grow beyond a limit by them.
"""

from __future__ import annotations

import re
from collections.abc import Iterator
from typing import Any, Final, cast

import yaml

from penstock.ir.fault import Fault, excerpt
from penstock.ir.numbers import plain_number
from penstock.model import Json

MAX_DEPTH: Final = 200
"""Levels of nesting of a document. Keeps every later walk clear of Python's recursion limit."""

_TAG: Final = "tag:yaml.org,2002:"
_INTEGER: Final = re.compile(r"[-+]?(0b[01_]+|0x[0-9a-fA-F_]+|0[0-7_]*|[1-9][0-9_]*)", re.ASCII)
_FLOAT: Final = re.compile(
    r"[-+]?([0-9][0-9_]*\.[0-9_]*([eE][-+][0-9]+)?|\.[0-9][0-9_]*([eE][-+][0-9]+)?)",
    re.ASCII,
)
_NOT_FINITE: Final = re.compile(r"[-+]?\.(inf|Inf|INF)|\.(nan|NaN|NAN)")
_WORDS: Final[dict[str, Json]] = {
    **dict.fromkeys(("", "~", "null", "Null", "NULL"), None),
    **{form: True for word in ("yes", "true", "on") for form in (word, word.title(), word.upper())},
    **{form: False for word in ("no", "false", "off") for form in (word, word.title(), word.upper())},
}
_MAX_DIGITS: Final = 400
_MERGE: Final = object()


class _Open:
    """A mapping or list that is still being read. `size` and `height` count aliases at what they stand for."""

    __slots__ = ("anchor", "height", "key", "merged", "size", "value")

    def __init__(self, value: dict[str, Json] | list[Json], anchor: str | None) -> None:
        self.value = value
        self.anchor = anchor
        self.key: object = None
        self.merged: list[dict[str, Json]] | None = None
        self.size = 1
        self.height = 1


def read_yaml(text: str, limit: int) -> Iterator[Json]:
    """The documents of a stream; an empty one is None. `limit` bounds the size that aliases may expand to.

    Raises Fault, with line and column.
    """
    loader = cast("type[yaml.SafeLoader]", getattr(yaml, "CSafeLoader", yaml.SafeLoader))
    events = cast("Iterator[Any]", yaml.parse(text, Loader=loader))
    try:
        for event in events:
            if type(event) is yaml.DocumentStartEvent:
                yield _document(events, limit)
    except yaml.MarkedYAMLError as error:
        mark = error.problem_mark or error.context_mark
        where = f" (line {mark.line + 1}, column {mark.column + 1})" if mark is not None else ""
        raise Fault(f"is not YAML{where}: {error.problem or error.context}") from None
    except yaml.YAMLError as error:
        raise Fault(f"is not YAML: {' '.join(str(error).split())}") from None
    except RecursionError:
        raise Fault(f"is nested deeper than {MAX_DEPTH} levels") from None


def _document(events: Iterator[Any], limit: int) -> Json:
    stack: list[_Open] = []
    anchors: dict[str, tuple[Json, int, int]] = {}
    top: _Open | None = None
    plain: dict[str, Json] = {}
    for event in events:
        kind = type(event)
        height = 0
        if kind is yaml.ScalarEvent:
            text: str = event.value
            is_key = top is not None and top.key is None and type(top.value) is dict
            if event.tag is not None:
                value = _tagged(event, text)
            elif not event.implicit[0] or (is_key and text != "<<"):
                value = text
            elif text in plain:
                value = plain[text]
            else:
                value = plain[text] = _plain(text, event)
            size = 8 + len(text)
            if event.anchor is not None:
                anchors[event.anchor] = (value, size, 0)
            if is_key:
                assert top is not None
                if text == "<<" and event.implicit[0]:
                    top.key = _MERGE
                elif type(value) is not str:
                    raise _fault(event, f"the key {excerpt(text)} is not a text")
                else:
                    top.key = value
                    if value in top.value:
                        raise _fault(
                            event,
                            f"the key {excerpt(value)} is given twice in one mapping",
                        )
                top.size += size
                continue
        elif kind is yaml.MappingStartEvent or kind is yaml.SequenceStartEvent:
            if top is not None and top.key is None and type(top.value) is dict:
                raise _fault(event, "a mapping or a list stands where a key should be")
            if (
                not event.implicit
                and event.tag != f"{_TAG}{'map' if kind is yaml.MappingStartEvent else 'seq'}"
            ):
                raise _unknown_tag(event)
            if len(stack) >= MAX_DEPTH:
                raise _fault(event, f"the nesting is deeper than {MAX_DEPTH} levels")
            top = _Open({} if kind is yaml.MappingStartEvent else [], event.anchor)
            stack.append(top)
            if event.anchor is not None:
                anchors.pop(event.anchor, None)
            continue
        elif kind is yaml.MappingEndEvent or kind is yaml.SequenceEndEvent:
            ended = stack.pop()
            if ended.merged:
                _merge(ended)
            value, size, height = ended.value, ended.size, ended.height
            if ended.anchor is not None:
                anchors[ended.anchor] = (value, size, height)
            top = stack[-1] if stack else None
        elif kind is yaml.AliasEvent:
            found = anchors.get(event.anchor)
            if found is None:
                raise _fault(
                    event,
                    f"the alias *{event.anchor} stands before or inside what it names",
                )
            value, size, height = found
            if top is not None and top.key is None and type(top.value) is dict:
                if type(value) is not str or value in top.value:
                    raise _fault(event, f"the alias *{event.anchor} cannot be a key here")
                top.key = value
                top.size += size
                continue
        else:  # the end of the document, after an empty one
            return None
        if top is None:
            next(events)  # the end of the document
            return value
        if height + 1 > top.height:
            top.height = height + 1
            if height + len(stack) > MAX_DEPTH:
                raise _fault(
                    event,
                    f"the nesting, with what aliases stand for, is deeper than {MAX_DEPTH} levels",
                )
        top.size += size
        if top.size > limit:
            raise _fault(event, f"aliases expand it beyond the limit of {limit} bytes")
        if type(top.value) is list:
            top.value.append(value)
        elif top.key is _MERGE:
            _note_merge(top, value, event)
            top.key = None
        else:
            cast("dict[str, Json]", top.value)[cast("str", top.key)] = value
            top.key = None
    return None


def _plain(text: str, event: Any) -> Json:
    if text in _WORDS:
        return _WORDS[text]
    if text[0] not in "+-.0123456789" or len(text) > _MAX_DIGITS:
        return text
    if match := _INTEGER.fullmatch(text):
        digits = match[1].replace("_", "")
        base = {"0b": 2, "0x": 16}.get(digits[:2], 8 if digits[0] == "0" else 10)
        number: int | float = int(digits[2:] if base in (2, 16) else digits, base)
        return _number(-number if text[0] == "-" else number, event)
    if _FLOAT.fullmatch(text):
        return _number(float(text.replace("_", "")), event)
    if _NOT_FINITE.fullmatch(text):
        raise _fault(event, f"{text} is not a number that a pipeline can carry")
    return text


def _number(number: float, event: Any) -> int | float:
    try:
        return plain_number(number)
    except ValueError:
        raise _fault(event, f"the number {excerpt(event.value)} is out of range") from None


def _tagged(event: Any, text: str) -> Json:
    tag: str = event.tag
    if tag in ("!", f"{_TAG}str"):
        return text
    name = tag.removeprefix(_TAG)
    if name == tag or name not in ("null", "bool", "int", "float"):
        raise _unknown_tag(event)
    value = _plain(text, event)
    fits = {
        "null": value is None,
        "bool": isinstance(value, bool),
        "int": isinstance(value, int) and not isinstance(value, bool),
        "float": isinstance(value, (int, float)) and not isinstance(value, bool),
    }
    if not fits[name]:
        raise _fault(event, f"{excerpt(text)} is not what its tag !!{name} says")
    return value


def _note_merge(mapping: _Open, value: Json, event: Any) -> None:
    sources = value if isinstance(value, list) else [value]
    for source in sources:
        if not isinstance(source, dict):
            raise _fault(event, "a merge key (<<) must name a mapping, or a list of mappings")
    mapping.merged = [*(mapping.merged or ()), *cast("list[dict[str, Json]]", sources)]


def _merge(mapping: _Open) -> None:
    """Own keys win over merged ones, earlier merged ones over later ones."""
    own = cast("dict[str, Json]", mapping.value)
    for source in mapping.merged or ():
        for key, value in source.items():
            own.setdefault(key, value)


def _unknown_tag(event: Any) -> Fault:
    tag = str(event.tag).replace(_TAG, "!!")
    return _fault(event, f"the tag {excerpt(tag)} is not allowed: a pipeline is plain data")


def _fault(event: Any, problem: str) -> Fault:
    mark = event.start_mark
    return Fault(f"line {mark.line + 1}, column {mark.column + 1}: {problem}")

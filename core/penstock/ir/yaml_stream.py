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

from penstock.ir.fault import FaultError, excerpt
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
    """A mapping or list still being read. `size` and `height` count aliases at what they stand for."""

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

    Raises FaultError, with line and column.
    """
    loader = cast("type[yaml.SafeLoader]", getattr(yaml, "CSafeLoader", yaml.SafeLoader))
    events = cast("Iterator[Any]", yaml.parse(text, Loader=loader))  # pyright: ignore[reportUnknownMemberType]
    try:
        for event in events:
            if type(event) is yaml.DocumentStartEvent:
                yield _Composer(limit).compose(events)
    except yaml.MarkedYAMLError as error:
        mark = error.problem_mark or error.context_mark
        where = f" (line {mark.line + 1}, column {mark.column + 1})" if mark is not None else ""
        raise FaultError(f"is not YAML{where}: {error.problem or error.context}") from None
    except yaml.YAMLError as error:
        raise FaultError(f"is not YAML: {' '.join(str(error).split())}") from None
    except RecursionError:
        raise FaultError(f"is nested deeper than {MAX_DEPTH} levels") from None


class _Composer:
    """One document, event by event. `anchors` hold values with their size and height."""

    __slots__ = ("anchors", "limit", "plain", "root", "stack", "top")

    def __init__(self, limit: int) -> None:
        self.limit = limit
        self.stack: list[_Open] = []
        self.top: _Open | None = None
        self.root: Json = None
        self.anchors: dict[str, tuple[Json, int, int]] = {}
        self.plain: dict[str, Json] = {}

    def compose(self, events: Iterator[Any]) -> Json:
        for event in events:
            kind = cast("type[object]", type(event))
            if kind is yaml.ScalarEvent:
                self.scalar(event)
            elif kind is yaml.MappingStartEvent:
                self.open({}, "map", event)
            elif kind is yaml.SequenceStartEvent:
                self.open([], "seq", event)
            elif kind is yaml.AliasEvent:
                self.alias(event)
            elif kind is yaml.DocumentEndEvent:
                break
            else:
                self.close(event)
        return self.root

    def scalar(self, event: Any) -> None:
        text: str = event.value
        top = self.top
        is_key = top is not None and top.key is None and type(top.value) is dict
        if event.tag is not None:
            value = _tagged(event, text)
        elif is_key or not event.implicit[0]:
            value = text
        elif text in self.plain:
            value = self.plain[text]
        else:
            value = self.plain[text] = _plain(text, event)
        size = 8 + len(text)
        if event.anchor is not None:
            self.anchors[event.anchor] = (value, size, 0)
        if not is_key:
            self.add(value, size, 0, event)
        elif text == "<<" and event.implicit[0]:
            cast("_Open", top).key = _MERGE
        else:
            self.name(value, size, event)

    def open(self, value: dict[str, Json] | list[Json], tag: str, event: Any) -> None:
        top = self.top
        if top is not None and top.key is None and type(top.value) is dict:
            raise _fault(event, "a mapping or a list stands where a key should be")
        if not event.implicit and event.tag != _TAG + tag:
            raise _unknown_tag(event)
        if len(self.stack) >= MAX_DEPTH:
            raise _fault(event, f"the nesting is deeper than {MAX_DEPTH} levels")
        self.top = _Open(value, event.anchor)
        self.stack.append(self.top)
        if event.anchor is not None:
            self.anchors.pop(event.anchor, None)

    def close(self, event: Any) -> None:
        ended = self.stack.pop()
        self.top = self.stack[-1] if self.stack else None
        if ended.merged:
            _merge(ended)
        if ended.anchor is not None:
            self.anchors[ended.anchor] = (ended.value, ended.size, ended.height)
        self.add(ended.value, ended.size, ended.height, event)

    def alias(self, event: Any) -> None:
        found = self.anchors.get(event.anchor)
        if found is None:
            raise _fault(event, f"the alias *{event.anchor} stands before or inside what it names")
        value, size, height = found
        top = self.top
        if top is not None and top.key is None and type(top.value) is dict:
            self.name(value, size, event)
        else:
            self.add(value, size, height, event)

    def name(self, key: Json, size: int, event: Any) -> None:
        """The key of the next pair."""
        top = cast("_Open", self.top)
        if type(key) is not str:
            raise _fault(event, f"the key {excerpt(key)} is not a text")
        if key in top.value:
            raise _fault(event, f"the key {excerpt(key)} is given twice in one mapping")
        top.key = key
        top.size += size

    def add(self, value: Json, size: int, height: int, event: Any) -> None:
        """A value, into what is open."""
        top = self.top
        if top is None:
            self.root = value
            return
        if height >= top.height:
            top.height = height + 1
            if height + len(self.stack) > MAX_DEPTH:
                raise _fault(event, f"the nesting, aliases expanded, is deeper than {MAX_DEPTH} levels")
        top.size += size
        if top.size > self.limit:
            raise _fault(event, f"aliases expand it beyond the limit of {self.limit} bytes")
        if type(top.value) is list:
            top.value.append(value)
        elif top.key is _MERGE:
            _note_merge(top, value, event)
        else:
            cast("dict[str, Json]", top.value)[cast("str", top.key)] = value
        top.key = None


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


def _unknown_tag(event: Any) -> FaultError:
    tag = str(event.tag).replace(_TAG, "!!")
    return _fault(event, f"the tag {excerpt(tag)} is not allowed: a pipeline is plain data")


def _fault(event: Any, problem: str) -> FaultError:
    mark = event.start_mark
    return FaultError(f"line {mark.line + 1}, column {mark.column + 1}: {problem}")

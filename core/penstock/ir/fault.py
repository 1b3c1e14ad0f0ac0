"""Faults found inside a document: what is wrong, and the steps that lead to it."""

from __future__ import annotations

import re
from typing import Final

from penstock.errors import InvalidPipelineError

_PLAIN: Final = re.compile(r"[\w-]+")
_SHOWN: Final = 80


class IrregularError(Exception):
    """A value has not the shape that the fast reader expects.

    Raised without a place. Whoever catches it asks `conform` for the place, or for the same document with
    protojson's other spellings made regular.
    """


class FaultError(Exception):
    """A fault whose place is completed on the way out: a sound document pays nothing for places."""

    def __init__(self, problem: str, *steps: str, remedy: str = "") -> None:
        super().__init__(problem)
        self.problem = problem
        self.steps = steps
        self.remedy = remedy

    def within(self, *steps: str) -> FaultError:
        """The same fault, seen from further out."""
        self.steps = (*steps, *self.steps)
        return self

    def as_error(self, source: str) -> InvalidPipelineError:
        where = source or "the pipeline"
        return InvalidPipelineError(self.problem, place=place(*self.steps), source=where, remedy=self.remedy)


def place(*steps: str) -> str:
    """`root.dag.tasks.train`; a step that is no plain word stands in brackets: `components['a.b']`."""
    out = ""
    for step in steps:
        if not _PLAIN.fullmatch(step):
            out += f"[{excerpt(step)}]"
        elif out:
            out += f".{step}"
        else:
            out = step
    return out


def excerpt(value: object) -> str:
    """A value in quotes for a message: control characters escaped, long ones cut."""
    try:
        text = repr(value if not isinstance(value, str) else value[: _SHOWN + 1])
    except (RecursionError, ValueError):
        return f"a {type(value).__name__}"
    return text if len(text) <= _SHOWN else f"{text[:_SHOWN]}…"


def kind(value: object) -> str:
    """What a JSON value is, in words: `a list`."""
    match value:
        case None:
            return "null"
        case bool():
            return "a boolean"
        case int() | float():
            return "a number"
        case str():
            return "a text"
        case list():
            return "a list"
        case _:
            return "a mapping"

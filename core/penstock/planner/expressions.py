"""CEL: conditions of tasks and selectors of parameters (KFP: expression.go).

KFP evaluates over protobuf messages, so every number handed in is a double. An expression that cannot be
evaluated is an error, never false. The limits keep a hostile or generated expression from exhausting the
stack or the clock: the evaluator recurses natively and cannot be interrupted.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from functools import lru_cache
from typing import TYPE_CHECKING, Final

from penstock.errors import ResolutionError
from penstock.model.value import Json
from penstock.planner.values import excerpt, normalize, parse_json, to_text

if TYPE_CHECKING:
    import cel

MAX_LENGTH: Final = 16_384
"""Characters of an expression. A 100-way if/elif chain of the SDK's compiler needs about half."""

MAX_NESTING: Final = 32
"""Open brackets at one place."""

MAX_CHAIN: Final = 200
"""Operators, accesses and commas between two of `&&` and `||`."""

MAX_STEPS: Final = 1_000_000
"""Items that the macros (`all`, `map`, …) of one expression may visit; about a quarter of a second."""

_CACHED_PROGRAMS: Final = 1024
_SHOWN: Final = 80

_QUOTED: Final = r"'(?:[^'\\\n]|\\.)*'|" + r'"(?:[^"\\\n]|\\.)*"'
_TOKEN: Final = re.compile(
    r"""(?P<text>[rR][bB]?(?:'[^'\n]*'|"[^"\n]*")|'''(?:[^\\]|\\.)*?'''|\"""(?:[^\\]|\\.)*?\"""|"""
    + _QUOTED
    + r""")|(?P<comment>//[^\n]*)|(?P<junction>&&|\|\|)"""
    + r"""|(?P<macro>\.\s*(?:all|exists|exists_one|map|filter)\s*\()"""
    + r"""|(?P<open>[(\[{])|(?P<close>[)\]}])|(?P<step>==|!=|<=|>=|[-.+*/%?:<>!,])""",
    re.DOTALL,
)
_NAMED: Final = re.compile(
    r"\binputs\s*\.\s*(?:parameter_values|parameters)\s*(?:\[\s*(" + _QUOTED + r")\s*\]|\.\s*(\w+))"
)
_INPUTS: Final = re.compile(r"\binputs\b")


@dataclass(frozen=True, slots=True)
class _Program:
    """`names`: the parameters that the expression names; None when it may look at any of them."""

    compiled: cel.Program
    variables: frozenset[str]
    names: tuple[str, ...] | None
    macros: int
    commas: int


def evaluate_condition(expression: str, inputs: Mapping[str, Json], *, legacy: bool = False) -> bool:
    """Whether a task whose trigger has this condition runs, given its input parameters.

    `legacy` adds `inputs.parameters['x'].string_value`, `.int_value` and `.double_value`, which pipelines of
    schema 2.0.0 use; elsewhere KFP leaves that map empty, and a reference to it is an error. Raises
    ResolutionError.
    """
    what = "the condition"
    program = _compile(expression, what)
    seen = _seen(program, inputs)
    parameters: dict[str, object] = {}
    if legacy:
        parameters = {name: _legacy(value) for name, value in seen.items()}
    variables: dict[str, object] = {
        "inputs": {
            "parameter_values": {name: _doubles(value) for name, value in seen.items()},
            "parameters": parameters,
        },
    }
    result = _execute(program, variables, expression, what, seen)
    if not isinstance(result, bool):
        raise _failure(what, expression, f"it gives {_shown(result)}, not true or false", seen)
    return result


def select(expression: str, value: Json) -> Json:
    """What a `parameterExpressionSelector` takes out of a value, such as `parseJson(string_value)["K"]`.

    `string_value` is there for every value, as text; the other fields of protobuf's Value only when they are
    set. Raises ResolutionError.
    """
    what = "the selector"
    program = _compile(expression, what)
    seen = {"the value": value}
    variables: dict[str, object] = {}
    field = _value_field(value)
    if field in program.variables:
        variables[field] = _doubles(value)
    if "string_value" in program.variables:
        variables["string_value"] = to_text(value)
    result = _execute(program, variables, expression, what, seen)
    try:
        return normalize(result)
    except ResolutionError as error:
        raise _failure(what, expression, str(error), seen) from None


def explain(expression: str, inputs: Mapping[str, Json], *, legacy: bool = False) -> str:
    """One sentence on a condition: what it came to, and the values of the parameters that it names."""
    try:
        outcome = "true" if evaluate_condition(expression, inputs, legacy=legacy) else "false"
    except ResolutionError as error:
        return str(error)
    values = _listed(_seen(_compile(expression, "the condition"), inputs))
    return f"{expression} was {outcome}" + (f" with {values}" if values else "")


def abridged(text: str) -> str:
    """A condition, or a text on one, without what the compiler writes around names: `accuracy >= limit`."""
    return _PARAMETER.sub(lambda found: found[1] or found[2], text).replace("pipelinechannel--", "")


_PARAMETER = re.compile(
    r"""inputs\.parameter_values\[['"]([^'"\]]+)['"]\]"""
    r"""|inputs\.parameters\[['"]([^'"\]]+)['"]\]\.\w+_value"""
)


@lru_cache(maxsize=_CACHED_PROGRAMS)
def _compile(expression: str, what: str) -> _Program:
    import cel

    macros, commas = _check_limits(expression, what)
    try:
        compiled = cel.compile(expression)
        variables = frozenset(compiled.variables())
    except (KeyboardInterrupt, SystemExit):
        raise
    except BaseException as error:  # noqa: BLE001 - a panic of the Rust library is not an Exception
        raise _failure(what, expression, f"it is not valid CEL ({_reason(error, expression)})", {}) from None
    return _Program(compiled, variables, _names(expression), macros, commas)


def _check_limits(expression: str, what: str) -> tuple[int, int]:
    """The number of macro calls and of commas; raises for an expression beyond the limits."""
    if len(expression) > MAX_LENGTH:
        raise _failure(
            what, expression, f"it has {len(expression)} characters; the limit is {MAX_LENGTH}", {}
        )
    nesting = chain = macros = commas = 0
    for token in _TOKEN.finditer(expression):
        kind = token.lastgroup
        if kind == "junction":
            chain = 0
        elif kind in ("open", "macro"):
            nesting += 1
            chain += 1
            macros += kind == "macro"
        elif kind == "close":
            nesting -= 1
        elif kind == "step":
            chain += 1
            commas += token[0] == ","
        if nesting > MAX_NESTING:
            raise _failure(what, expression, f"it nests brackets deeper than {MAX_NESTING} levels", {})
        if chain > MAX_CHAIN:
            raise _failure(what, expression, f"it chains more than {MAX_CHAIN} operations", {})
    return macros, commas


def _execute(
    program: _Program,
    variables: Mapping[str, object],
    expression: str,
    what: str,
    seen: Mapping[str, Json],
) -> object:
    import cel

    if program.macros:
        widest = max(program.commas + 1, *(_widest(value) for value in seen.values()), 1)
        if widest**program.macros > MAX_STEPS:
            raise _failure(what, expression, f"it would visit more than {MAX_STEPS} items", seen)
    parser = _JsonParser()
    functions: dict[str, Callable[..., object]] = {"parseJson": parser}
    try:
        result: object = program.compiled.execute(cel.Context(dict(variables), functions))
    except (KeyboardInterrupt, SystemExit):
        raise
    except BaseException as error:  # noqa: BLE001 - a panic of the Rust library is not an Exception
        raise _failure(what, expression, parser.error or _reason(error, expression), seen) from None
    if parser.error:
        raise _failure(what, expression, parser.error, seen)
    return result


class _JsonParser:
    """CEL's `parseJson`. It keeps its error instead of raising: the library prints what a function raises."""

    __slots__ = ("error",)

    def __init__(self) -> None:
        self.error = ""

    def __call__(self, text: object) -> object:
        if not isinstance(text, str):
            self.error = self.error or "parseJson takes a string"
            return None
        try:
            return _doubles(parse_json(text, where="the argument of parseJson"))
        except ResolutionError as error:
            self.error = self.error or str(error)
            return None


def _names(expression: str) -> tuple[str, ...] | None:
    found: dict[str, None] = {}
    matches = list(_NAMED.finditer(expression))
    if len(matches) != len(_INPUTS.findall(expression)):
        return None
    for match in matches:
        name = match[2] or match[1][1:-1]
        if "\\" in name:
            return None
        found[name] = None
    return tuple(found)


def _seen(program: _Program, inputs: Mapping[str, Json]) -> dict[str, Json]:
    """The inputs that the expression can look at; the others would only cost their conversion."""
    if program.names is None:
        return dict(inputs)
    return {name: inputs[name] for name in program.names if name in inputs}


def _doubles(value: Json) -> object:
    """The value with every number as a float, the one number type of protobuf's Value."""
    if isinstance(value, (str, bool)) or value is None:
        return value
    if isinstance(value, (int, float)):
        return float(value)
    if isinstance(value, list):
        return [_doubles(item) for item in value]
    return {key: _doubles(item) for key, item in value.items()}


def _legacy(value: Json) -> dict[str, object]:
    """The value as the legacy `Value` message: text in `string_value`, numbers in the field of their kind."""
    fields: dict[str, object] = {"string_value": to_text(value)}
    if isinstance(value, (int, float)) and not isinstance(value, bool):
        fields["double_value"] = float(value)
        if float(value).is_integer():
            fields["int_value"] = int(value)
    return fields


def _value_field(value: Json) -> str:
    """The field of protobuf's Value that holds it; for a string, `string_value` itself."""
    match value:
        case None:
            return "null_value"
        case bool():
            return "bool_value"
        case str():
            return "string_value"
        case int() | float():
            return "number_value"
        case list():
            return "list_value"
        case dict():
            return "struct_value"


def _widest(value: Json) -> int:
    """The size of the largest collection in it; of a text, its length: `parseJson` may make a list of it."""
    if isinstance(value, str):
        return len(value)
    if isinstance(value, list):
        return max(len(value), max(map(_widest, value), default=0))
    if isinstance(value, dict):
        return max(len(value), max(map(_widest, value.values()), default=0))
    return 0


def _failure(what: str, expression: str, reason: str, seen: Mapping[str, Json]) -> ResolutionError:
    shown = expression if len(expression) <= 3 * _SHOWN else expression[: 3 * _SHOWN] + "…"
    values = _listed(seen)
    return ResolutionError(
        f"{what} {shown} cannot be evaluated: {reason}" + (f"; it saw {values}" if values else "")
    )


def _listed(values: Mapping[str, Json], most: int = 8) -> str:
    shown = [f"{name} = {_shown(value)}" for name, value in list(values.items())[:most]]
    return ", ".join(shown) + (f" and {len(values) - most} more" if len(values) > most else "")


def _shown(value: object) -> str:
    if isinstance(value, str):
        return repr(value if len(value) <= _SHOWN else value[:_SHOWN] + "…")
    return excerpt(value, _SHOWN)


def _reason(error: BaseException, expression: str) -> str:
    """The library's message without its repetition of the expression and its advice."""
    if isinstance(error, KeyError):
        return f"there is no {error.args[0]!r}" if error.args else "a key is missing"
    text = (
        str(error).replace(f"Failed to parse expression '{expression}': ", "").removeprefix("ERROR: <input>:")
    )
    line = text.strip().split("\n", 1)[0].split(". ", 1)[0].rstrip(".")
    return line if len(line) <= 2 * _SHOWN else line[: 2 * _SHOWN] + "…"

"""Plain words, `&&`, `||` and parentheses, cut up as a POSIX shell would; nothing is expanded or run."""

from __future__ import annotations

from enum import Enum


class Operator(Enum):
    AND = "&&"
    OR = "||"
    OPEN = "("
    CLOSE = ")"


Token = str | Operator

_BLANK = " \t\n"
_ACTIVE = frozenset("$`;<>&|*?[]{}\r")
"""Characters with which an unquoted word stops being plain."""


def shell_tokens(text: str) -> list[Token] | None:
    """The words and operators of `text`; None when a shell would do more with it than split and unquote.

    shlex will not do: it returns a quoted `'&&'` and an operator alike, and does not see expansions in
    quotes. A newline ends a command, so it may stand at either end and after an operator only. POSIX.1-2017,
    2.2 Quoting and 2.3 Token Recognition.
    """
    text = text.strip(_BLANK)
    tokens: list[Token] = []
    at = 0
    while at < len(text):
        if text.startswith("\\\n", at):
            at += 2
        elif text[at] in _BLANK:
            if text[at] == "\n" and tokens and not isinstance(tokens[-1], Operator):
                return None
            at += 1
        elif (operator := _operator(text, at)) is not None:
            tokens.append(operator)
            at += len(operator.value)
        else:
            word = _word(text, at)
            if word is None:
                return None
            tokens.append(word[0])
            at = word[1]
    return tokens


def _operator(text: str, at: int) -> Operator | None:
    for operator in Operator:
        if text.startswith(operator.value, at):
            return operator
    return None


def _word(text: str, at: int) -> tuple[str, int] | None:
    if text[at] in "#~":
        return None
    parts: list[str] = []
    while at < len(text) and text[at] not in _BLANK and text[at] not in "()":
        char = text[at]
        if char == "'":
            end = text.find("'", at + 1)
            if end < 0:
                return None
            parts.append(text[at + 1 : end])
            at = end + 1
        elif char == '"':
            quoted = _double_quoted(text, at + 1)
            if quoted is None:
                return None
            parts.append(quoted[0])
            at = quoted[1]
        elif char == "\\":
            if at + 1 >= len(text):
                return None
            parts.append(text[at + 1].replace("\n", ""))
            at += 2
        elif char in _ACTIVE:
            if _operator(text, at) is not None:
                break
            return None
        else:
            parts.append(char)
            at += 1
    return "".join(parts), at


def _double_quoted(text: str, at: int) -> tuple[str, int] | None:
    parts: list[str] = []
    while at < len(text):
        char = text[at]
        if char == '"':
            return "".join(parts), at + 1
        if char in "$`":
            return None
        if char == "\\" and at + 1 < len(text) and text[at + 1] in '$`"\\\n':
            parts.append(text[at + 1].replace("\n", ""))
            at += 2
        else:
            parts.append(char)
            at += 1
    return None

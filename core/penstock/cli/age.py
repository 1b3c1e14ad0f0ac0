"""Ages as people write them: 30d, 12h."""

from __future__ import annotations

import re

from penstock.errors import InvalidInputError

_SECONDS = {"s": 1, "m": 60, "h": 3600, "d": 86400, "w": 7 * 86400}


def seconds_of(text: str, option: str = "--older-than") -> float:
    """Raises InvalidInputError, naming the option."""
    age = re.fullmatch(r"(\d{1,9})([smhdw])", text)
    if age is None:
        raise InvalidInputError(f"{option} takes a number and s, m, h, d or w, such as 30d, not '{text}'")
    return float(age[1]) * _SECONDS[age[2]]

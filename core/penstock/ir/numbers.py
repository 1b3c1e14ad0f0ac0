"""Numbers as protobuf knows them: every one a double, an integral one an `int` in Python."""

from __future__ import annotations

import math
from typing import Final

_EXACT: Final = 2**53
_EXPONENT_FROM: Final = 1e21


def plain_number(number: float) -> int | float:
    """2.0 is 2 and 2**53 + 1 is 2**53; from 1e21 on, and for -0.0, a float stays one, as Go prints it.

    Raises ValueError for NaN, infinities and integers beyond the doubles.
    """
    if isinstance(number, int) and -_EXACT <= number <= _EXACT:
        return int(number)
    try:
        double = float(number)
    except OverflowError:
        double = math.inf
    if not math.isfinite(double):
        raise ValueError("a number is not finite, or beyond 1.8e308")
    if (
        double.is_integer()
        and abs(double) < _EXPONENT_FROM
        and not (double == 0 and math.copysign(1, double) < 0)
    ):
        return int(double)
    return double


def plain_text(number: float) -> str:
    """The shortest digits without an exponent: 2.0 is `2`, 0.5 is `0.5`, 1e-7 is `0.0000001`."""
    found = plain_number(number)
    if isinstance(found, int):
        return str(found)
    from decimal import Decimal

    return format(Decimal(repr(found)), "f")

"""Sizes as people read them."""

from __future__ import annotations


def size_text(size: int) -> str:
    """`1.5 MiB`."""
    if size < 1024:
        return f"{size} B"
    exponent = min(4, (size.bit_length() - 1) // 10)
    return f"{size / 1024**exponent:.1f} {' KMGT'[exponent]}iB"

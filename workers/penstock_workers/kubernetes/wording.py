"""What kubelet, scheduler and container runtime say, as a part of our own sentence."""

from __future__ import annotations

import re


def sentence(message: str) -> str:
    """Of what a program says: in one line, without its end."""
    text = " ".join(message.split()).rstrip(". ")
    return text if len(text) <= 400 else f"{text[:399]}…"


def pull_failure(message: str, reason: str) -> str:
    """Without the kubelet's own wrapping, which says the image's name up to four times."""
    text = sentence(message)
    for mark in (
        "rpc error: ",
        "desc = ",
        "failed to pull and unpack image ",
        "failed to resolve reference ",
    ):
        text = text.rpartition(mark)[2] if mark in text else text
    text = re.sub(r'^(Back-off pulling image )?"[^"]*": ?', "", text)
    return text or reason


def start_failure(message: str) -> str:
    """runc's own reason, from behind its `exec: "…": `."""
    found = re.search(r'exec: ("[^"]*": .*?)(: unknown)?$', sentence(message))
    return found[1] if found else sentence(message)

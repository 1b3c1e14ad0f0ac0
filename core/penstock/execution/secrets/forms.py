"""The forms in which a secret's value turns up in a log."""

from __future__ import annotations

import base64
import json
import re
from collections.abc import Iterator, Mapping
from urllib.parse import quote, quote_plus, unquote

from penstock.execution.secrets.masker import Masker

SHORTEST = 4
"""Bytes. What is shorter is in too many words to be masked."""

MOST_LINES = 256
"""Lines of a value that are masked also where they stand alone."""

_SENSITIVE = re.compile(
    r"(^|_)(PASSWORD|PASSWD|PASSPHRASE|SECRET|TOKEN|API_?KEY|ACCESS_KEY|SECRET_KEY|PRIVATE_KEY)(?!_ID$)($|_)"
)
_PASSWORD = re.compile(r"(://[^\s:/@]*):([^\s/]+)@")
_LONE_USER = re.compile(r"\bhttps?://([^\s:/@]+)@")


def masker_of(values: Mapping[str, bytes] | list[bytes]) -> Masker:
    found = values.values() if isinstance(values, Mapping) else values
    return Masker(form for value in found for form in forms(value))


def forms(value: bytes) -> set[bytes]:
    """The value itself without the white space around it, its lines, the passwords of URLs in it; each as it
    is and in base64, quoted for a URL, escaped as in JSON and as Python shows it.
    """
    whole = value.strip()
    found = {whole}
    lines = [line.strip() for line in whole.splitlines()]
    if len(lines) > 1:
        found.update(lines[:MOST_LINES])
    text = whole.decode("utf-8", "replace")
    found.update(one.encode() for one in logins(text))
    for one in (whole, *(one for one in found if one is not whole and len(lines) == 1)):
        found.update(_base64(one))
        found.update(_escaped(one))
    return {one for one in found if len(one) >= SHORTEST}


def logins(text: str) -> set[str]:
    """The passwords of URLs in the text, and what stands alone in the place of user and password, as tokens
    do; also unquoted. A word that the text has elsewhere too, such as the user's name, is not to be hidden.
    """
    found = {*(password for _, password in _PASSWORD.findall(text)), *_LONE_USER.findall(text)}
    rest = _LONE_USER.sub("", _PASSWORD.sub(r"\1@", text))
    return {way for one in found if one not in rest for way in (one, unquote(one))}


def environment_secrets(variables: Mapping[str, str]) -> list[bytes]:
    """What must be secret by its name (`HF_TOKEN`, `AWS_SECRET_ACCESS_KEY`), and passwords in URLs."""
    found: set[str] = set()
    for name, value in variables.items():
        if _SENSITIVE.search(name.upper()):
            found.add(value)
        if "://" in value:
            found |= logins(value)
    return [one.encode("utf-8", "surrogateescape") for one in sorted(found)]


def _base64(value: bytes) -> Iterator[bytes]:
    """Also as a part of something longer: then its first and last character depend on what is beside it."""
    for before in range(3):
        encoded = base64.b64encode(b"\0" * before + value).rstrip(b"=")
        inner = encoded[(0, 2, 3)[before] : len(encoded) if (before + len(value)) % 3 == 0 else -1]
        for one in {inner, encoded if before == 0 else inner}:
            yield one
            yield one.replace(b"+", b"-").replace(b"/", b"_")
    wrapped = base64.encodebytes(value).split()
    if len(wrapped) > 1:
        yield from wrapped[:MOST_LINES]


def _escaped(value: bytes) -> Iterator[bytes]:
    yield repr(value)[2:-1].encode()
    try:
        text = value.decode()
    except UnicodeDecodeError:
        return
    for one in (quote(text, safe=""), quote(text), quote_plus(text)):
        yield one.encode()
        yield re.sub("%..", lambda found: found[0].lower(), one).encode()
    for one in (json.dumps(text), json.dumps(text, ensure_ascii=False), repr(text)):
        yield one[1:-1].encode("utf-8", "surrogateescape")

"""How values stand in columns: JSON as ASCII text, so that no character in it can trouble a database."""

from __future__ import annotations

import json
from collections.abc import Mapping
from typing import cast

from penstock.model import NOTHING, Json, JsonObject, Values
from penstock.model.codec import values_from_json, values_to_json

_encode = json.JSONEncoder(separators=(",", ":"), check_circular=False).encode
_encode_sorted = json.JSONEncoder(separators=(",", ":"), sort_keys=True).encode


def dump(value: Json | Mapping[str, Json]) -> str:
    return _encode(value)


def dump_sorted(value: Json | Mapping[str, Json]) -> str:
    """Equal values give equal texts, and only those: true is not 1 here."""
    return _encode_sorted(value)


def load_object(text: str) -> JsonObject:
    return {} if text == "{}" else cast("JsonObject", json.loads(text))


def dump_values(values: Values) -> str:
    return "{}" if values is NOTHING else _encode(values_to_json(values))


def load_values(text: str) -> Values:
    return NOTHING if text == "{}" else values_from_json(cast("JsonObject", json.loads(text)))


def plain(text: str) -> str:
    """Free text, as from a task's output, made fit for a text column: no NUL, no lone surrogates."""
    if text.isascii() and "\0" not in text:
        return text
    return text.replace("\0", "\ufffd").encode("utf-8", "replace").decode("utf-8")

"""The canonical form: one text for one pipeline, whatever the order of its keys."""

from __future__ import annotations

import json
from hashlib import sha256
from typing import Final

from penstock.model import Json, JsonObject, Pipeline

_ENCODER: Final = json.JSONEncoder(
    sort_keys=True,
    ensure_ascii=False,
    separators=(",", ":"),
    allow_nan=False,
    check_circular=False,
)


def canonical_json(value: Json) -> str:
    """Compact, keys sorted by code point, text unescaped. Numbers must be normal already (2, not 2.0)."""
    return _ENCODER.encode(value)


def documents_json(pipeline: JsonObject, platform: JsonObject) -> str:
    """Both documents as KFP's REST API takes them: `pipeline_spec`, and `platform_spec` if there is one."""
    both: JsonObject = {"pipeline_spec": pipeline}
    if platform:
        both["platform_spec"] = platform
    return canonical_json(both)


def digest(pipeline: JsonObject, platform: JsonObject) -> str:
    """sha256 (hex) of the canonical form. Raises UnicodeEncodeError for a lone surrogate in a text."""
    return sha256(documents_json(pipeline, platform).encode()).hexdigest()


def dump(pipeline: Pipeline) -> str:
    """A text that `load` makes the same pipeline of, up to the order of names in mappings."""
    return documents_json(pipeline.document, pipeline.platform)

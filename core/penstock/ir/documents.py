"""A file or text to the two documents of a pipeline, in whichever wrapping they come."""

from __future__ import annotations

import os
from typing import Final

from penstock.ir.envelope import Documents, unwrap
from penstock.ir.fault import FaultError
from penstock.ir.json_text import read_json
from penstock.ir.yaml_stream import read_yaml
from penstock.model import Json

__all__ = ["MAX_BYTES", "Documents", "read_documents"]

MAX_BYTES: Final = 64 * 2**20
"""The largest document, and the largest size that YAML aliases may expand one to."""

_MAX_DOCUMENTS: Final = 8


def read_documents(document: os.PathLike[str] | str | bytes, limit: int = MAX_BYTES) -> Documents:
    """Raises FaultError."""
    content = _read(document, limit) if isinstance(document, os.PathLike) else document
    text = _decode(content, limit)
    if not text.strip():
        raise FaultError(
            "the file is empty",
            remedy="It must hold a compiled pipeline (kfp compiler, IR YAML).",
        )
    if text.lstrip()[0] == "{":
        return unwrap([read_json(text)])
    found: list[Json] = []
    for one in read_yaml(text, limit):
        if one is not None:
            found.append(one)
        if len(found) > _MAX_DOCUMENTS:
            break
    return unwrap(found)


def _read(path: os.PathLike[str], limit: int) -> bytes:
    try:
        with open(path, "rb") as file:
            return file.read(limit + 1)
    except FileNotFoundError:
        raise FaultError("there is no such file", remedy="Check the path.") from None
    except IsADirectoryError:
        raise FaultError("is a directory", remedy="Name the compiled pipeline's file in it.") from None
    except (OSError, ValueError) as error:
        reason = error.strerror if isinstance(error, OSError) and error.strerror else str(error)
        raise FaultError(
            f"the file cannot be read: {reason}",
            remedy="Check the path and its permissions.",
        ) from None


def _decode(content: str | bytes, limit: int) -> str:
    if isinstance(content, str):
        # A character has at least one byte; the exact count matters only near the limit.
        size = (
            len(content)
            if len(content) > limit or len(content) * 4 <= limit
            else len(content.encode("utf-8", "replace"))
        )
    else:
        size = len(content)
    if size > limit:
        raise FaultError(
            f"is larger than the limit of {limit} bytes",
            remedy="Is it a pipeline? Large data belongs into artifacts, not into the pipeline.",
        )
    if isinstance(content, str):
        return content.removeprefix("\ufeff")
    try:
        return content.decode("utf-8-sig")
    except UnicodeDecodeError as error:
        raise FaultError(
            f"is not UTF-8 text (byte {error.start})",
            remedy="Is it a pipeline? Save it as UTF-8.",
        ) from None

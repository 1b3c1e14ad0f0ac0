"""A file or text to the two documents of a pipeline, in whichever wrapping they come."""

from __future__ import annotations

import os
import re
from typing import Final

from penstock.errors import InvalidInputError
from penstock.ir.envelope import Documents, unwrap
from penstock.ir.fault import FaultError, excerpt, kind
from penstock.ir.json_text import read_json
from penstock.ir.yaml_stream import read_yaml
from penstock.model import Json, JsonObject

__all__ = ["MAX_BYTES", "Documents", "read_documents", "read_mapping"]

MAX_BYTES: Final = 64 * 2**20
"""The largest document, and the largest size that YAML aliases may expand one to."""

_MAX_DOCUMENTS: Final = 8
_PATH: Final = re.compile(r"[^\n:{]{1,4096}\.(ya?ml|json)")
_HEAD: Final = re.compile(r"# PIPELINE DEFINITION\n.*?^(?=components:)", re.DOTALL | re.MULTILINE)
"""What the SDK's compiler says of a pipeline in comments. A default with line breaks leaves them, and is no
YAML.
"""


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
    text = _HEAD.sub(lambda head: "\n" * head[0].count("\n"), text, count=1)
    found: list[Json] = []
    for one in read_yaml(text, limit):
        if one is not None:
            found.append(one)
        if len(found) > _MAX_DOCUMENTS:
            break
    return unwrap(found)


def read_mapping(path: os.PathLike[str], limit: int = MAX_BYTES) -> JsonObject:
    """One mapping from a YAML or JSON file, read as strictly as a pipeline; an empty file is an empty one.

    Raises InvalidInputError.
    """
    try:
        text = _decode(_read(path, limit), limit)
        values = [read_json(text)] if text.lstrip().startswith("{") else read_yaml(text, limit)
        found = [one for one in values if one is not None]
    except FaultError as fault:
        raise InvalidInputError(f"{os.fspath(path)}: {fault.problem}") from None
    if not found:
        return {}
    if len(found) > 1 or not isinstance(found[0], dict):
        what = f"{len(found)} documents" if len(found) > 1 else kind(found[0])
        raise InvalidInputError(f"{os.fspath(path)} must hold one mapping of names to values, not {what}")
    return found[0]


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
    try:
        encoded = content.encode() if isinstance(content, str) else content
        if len(encoded) > limit:
            raise FaultError(
                f"is larger than the limit of {limit} bytes",
                remedy="Is it a pipeline? Large data belongs into artifacts, not into the pipeline.",
            )
        text = content if isinstance(content, str) else content.decode()
    except UnicodeError as error:
        where = f" (byte {error.start})" if isinstance(error, UnicodeDecodeError) else ""
        raise FaultError(f"is not UTF-8 text{where}", remedy="Is it a pipeline? Save it as UTF-8.") from None
    if isinstance(content, str) and _PATH.fullmatch(content):
        raise FaultError(
            f"is only the name of a file: {excerpt(content)}",
            remedy="A str is the document itself; give a pathlib.Path to have a file read.",
        )
    return text.removeprefix("\ufeff")

"""The lines of a log while it is being written."""

from __future__ import annotations

import codecs
import re
from collections.abc import Callable
from pathlib import Path
from typing import Final

_CHUNK = 1 << 16
_TAIL = 8192
_LONGEST = 1 << 16
_NOISE: Final = re.compile(r"""[\]\[{}",\s]*$|"|\[KFP Executor [^\]]* INFO\]""")
"""Brackets alone, the lines of the executor input, and the executor's own."""
_CONTROL: Final = re.compile(r"\x1b(\[[0-?]*[ -/]*[@-~]|[@-Z\\-_])|[\x00-\x1f\x7f-\x9f]+")
"""What moves a terminal's cursor or changes its colours."""


class LogTail:
    """Hands each line, without its end, to `on_line`. What is not UTF-8 is replaced; overlong lines come in
    pieces.
    """

    def __init__(self, path: Path, on_line: Callable[[str], None], offset: int = 0) -> None:
        self._path = path
        self._on_line = on_line
        self._offset = offset
        self._rest = ""
        self._decoder = codecs.getincrementaldecoder("utf-8")("replace")

    def read(self, *, last: bool = False) -> None:
        """What has been written since; the last time also a line without an end."""
        try:
            with self._path.open("rb", buffering=0) as log:
                log.seek(self._offset)
                while chunk := log.read(_CHUNK):
                    self._offset += len(chunk)
                    self._take(self._decoder.decode(chunk))
        except FileNotFoundError:
            return
        finally:
            if last and self._rest:
                self._on_line(self._rest)
                self._rest = ""

    def _take(self, text: str) -> None:
        *lines, self._rest = (self._rest + text).split("\n")
        for line in lines:
            self._on_line(line.removesuffix("\r"))
        while len(self._rest) > _LONGEST:
            self._on_line(self._rest[:_LONGEST])
            self._rest = self._rest[_LONGEST:]


def last_line(path: Path, limit: int = 200) -> str:
    """The last line of a log that tells a person something, cut to `limit` characters; "" without one.

    What KFP's executor says of itself before it runs the component is passed over. Of a line that was written
    over, as progress bars are, the last state counts.
    """
    try:
        with path.open("rb") as log:
            log.seek(0, 2)
            log.seek(max(0, log.tell() - _TAIL))
            return last_line_of(log.read(), limit)
    except OSError:
        return ""


def last_line_of(data: bytes, limit: int = 200) -> str:
    """The same of the end of a log."""
    for line in reversed(data[-_TAIL:].decode(errors="replace").split("\n")):
        text = _CONTROL.sub("", line.rstrip().rpartition("\r")[2]).strip()
        if text and not _NOISE.match(text):
            return text if len(text) <= limit else text[: limit - 1] + "…"
    return ""

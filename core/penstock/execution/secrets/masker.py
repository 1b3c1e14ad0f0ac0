"""Takes known values out of a stream of bytes, wherever it is cut; run as a program, out of a task's output.

As a program it stands between a task and its log, and outlives the engine as the task does: so nothing else
of ours is imported, and a bare Python runs it. It gets the descriptors of what to read and of the log as
arguments, and the forms to mask on its standard input, each a line of hexadecimal digits.
"""

from __future__ import annotations

import os
import sys
from collections.abc import Iterable

MASK = b"***"

_CHUNK = 1 << 18
_START = 4
"""Bytes of a form that are looked for at the end of what came so far; no form is shorter."""


class Masker:
    """Masks `forms`, of four bytes at least each. Where several overlap, all of it becomes one mask."""

    def __init__(self, forms: Iterable[bytes] = ()) -> None:
        self.forms = tuple(sorted(set(forms)))
        if any(len(one) < _START for one in self.forms):
            raise ValueError(f"a form to mask has {_START} bytes at least")

    def __bool__(self) -> bool:
        return bool(self.forms)

    def __repr__(self) -> str:
        return f"Masker({len(self.forms)} forms)"

    def text(self, text: str) -> str:
        if not self.forms or not text:
            return text
        data = text.encode("utf-8", "surrogateescape")
        masked = self.data(data)
        return text if masked is data else masked.decode("utf-8", "surrogateescape")

    def data(self, data: bytes) -> bytes:
        """The very same object where there is nothing to mask."""
        stream = MaskedStream(self)
        first = stream.feed(data)
        rest = stream.end()
        return data if first + rest == data else first + rest

    def found_in(self, text: str) -> bool:
        data = text.encode("utf-8", "surrogateescape")
        return any(form in data for form in self.forms)


NO_MASKER = Masker()


class MaskedStream:
    """The masked form of what is fed to it. What may be the beginning of a form is held back until the next
    bytes tell.
    """

    def __init__(self, masker: Masker) -> None:
        self._forms = masker.forms
        self._held = b""
        self._covered = 0
        """So many of the held bytes are part of what has been masked already."""

    def feed(self, chunk: bytes) -> bytes:
        data = self._held + chunk
        return self._emit(data, self._beginning(data))

    def end(self) -> bytes:
        return self._emit(self._held, len(self._held))

    def _emit(self, data: bytes, until: int) -> bytes:
        """`data` up to `until`, masked; the rest is held."""
        spans = self._spans(data)
        if not spans and not self._covered:
            self._held = data[until:]
            return data[:until]
        parts: list[bytes] = []
        at = reached = self._covered
        for start, stop in spans:
            if start >= until:
                break
            if start >= reached:
                parts += (data[at:start], MASK)
            at = reached = max(reached, stop)
        if at < until:
            parts.append(data[at:until])
        self._held = data[until:]
        self._covered = max(0, reached - until)
        return b"".join(parts)

    def _spans(self, data: bytes) -> list[tuple[int, int]]:
        found: list[tuple[int, int]] = []
        for form in self._forms:
            at = data.find(form)
            while at >= 0:
                found.append((at, at + len(form)))
                at = data.find(form, at + 1)
        found.sort()
        return found

    def _beginning(self, data: bytes) -> int:
        """Where the longest end of `data` begins that is the beginning of a form, and not all of it."""
        first = len(data)
        for form in self._forms:
            at = max(0, len(data) - len(form) + 1)
            while True:
                at = data.find(form[:_START], at, len(data)) if len(data) - at >= _START else -1
                if at < 0:
                    at = max(0, len(data) - _START + 1)
                    break
                if form.startswith(data[at:]):
                    break
                at += 1
            while at < first:
                if form.startswith(data[at:]):
                    first = at
                    break
                at += 1
        return first


def main() -> None:
    """Ends when the last process of the task has closed its output."""
    reading, log = int(sys.argv[1]), int(sys.argv[2])
    stream = MaskedStream(Masker(bytes.fromhex(line) for line in sys.stdin))
    while chunk := os.read(reading, _CHUNK):
        _write(log, stream.feed(chunk))
    _write(log, stream.end())


def _write(log: int, data: bytes) -> None:
    """A full disk loses lines of the log; it must not stop the task."""
    try:
        while data:
            data = data[os.write(log, data) :]
    except OSError:
        return


if __name__ == "__main__":
    main()

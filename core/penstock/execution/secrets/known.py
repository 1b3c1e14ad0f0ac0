"""What this process must not say: the values that it has resolved, and what its own environment holds."""

from __future__ import annotations

import logging
import os
import threading
from collections.abc import Mapping

from penstock.execution.secrets.forms import environment_secrets, forms
from penstock.execution.secrets.masker import Masker


class KnownSecrets(logging.Filter):
    """Also a filter for loggers and handlers, which masks messages and tracebacks."""

    def __init__(self) -> None:
        super().__init__()
        self._lock = threading.Lock()
        self._forms: frozenset[bytes] = frozenset()
        self._masker: Masker | None = None

    def add(self, forms: tuple[bytes, ...]) -> None:
        with self._lock:
            if not self._forms.issuperset(forms):
                self._forms |= set(forms)
                self._masker = None

    def mask(self, text: str) -> str:
        with self._lock:
            if self._masker is None:
                self._masker = Masker(self._forms.union(*map(forms, environment_secrets(_own(os.environ)))))
            masker = self._masker
        return masker.text(text)

    def filter(self, record: logging.LogRecord) -> bool:
        record.msg, record.args = self.mask(record.getMessage()), None
        if record.exc_info:
            record.exc_text = self.mask(logging.Formatter().formatException(record.exc_info))
        return True


def _own(variables: Mapping[str, str]) -> Mapping[str, str]:
    """Where credentials of ours come from; what else the user calls a token is nothing that we know."""
    own = ("PENSTOCK_", "AWS_", "MLFLOW_", "PIP_", "UV_", "HTTP_PROXY", "HTTPS_PROXY", "ALL_PROXY", "PG")
    return {name: value for name, value in variables.items() if name.upper().startswith(own)}


KNOWN = KnownSecrets()

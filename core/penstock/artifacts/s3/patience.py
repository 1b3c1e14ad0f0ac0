"""Trying again while the service is away, for a bounded time."""

from __future__ import annotations

import ssl
import time
from types import TracebackType
from typing import Any, Final, Self

from urllib3 import BaseHTTPResponse, Retry
from urllib3.connectionpool import ConnectionPool
from urllib3.exceptions import MaxRetryError, SSLError

SECONDS: Final = 60.0
"""How long a request is repeated after its first failure. A restart of a service takes less."""

_TRANSIENT = (429, 500, 502, 503, 504)
_LONGEST_PAUSE = 5.0


class Patience(Retry):
    """urllib3's retries with a limit in time in place of a number.

    Every method is repeated: a second attempt at any of our requests does what the first one would have done.
    A certificate that cannot be verified will not be better the next time.
    """

    def __init__(self, *, seconds: float = SECONDS, since: float | None = None, **options: Any) -> None:
        super().__init__(**options)
        self.seconds = seconds
        self.since = since

    @classmethod
    def of(cls, seconds: float) -> Patience:
        return cls(
            total=10_000,
            allowed_methods=None,
            status_forcelist=_TRANSIENT,
            backoff_factor=0.2,
            backoff_max=_LONGEST_PAUSE,
            backoff_jitter=0.2,
            raise_on_status=False,
            respect_retry_after_header=False,
            seconds=seconds,
        )

    def new(self, **changes: Any) -> Self:
        return super().new(**{"seconds": self.seconds, "since": self.since, **changes})

    def increment(
        self,
        method: str | None = None,
        url: str | None = None,
        response: BaseHTTPResponse | None = None,
        error: Exception | None = None,
        _pool: ConnectionPool | None = None,
        _stacktrace: TracebackType | None = None,
    ) -> Self:
        since = time.monotonic() if self.since is None else self.since
        hopeless = isinstance(error, SSLError) and isinstance(error.args[0], ssl.SSLError)
        if hopeless or time.monotonic() - since > self.seconds:
            assert _pool is not None
            raise MaxRetryError(_pool, url or "", error)
        found = super().increment(method, url, response, error, _pool, _stacktrace)
        found.since = since
        return found

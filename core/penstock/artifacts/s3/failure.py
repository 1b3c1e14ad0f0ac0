"""What S3 answers, and what keeps it from answering, in one sentence that says what to do."""

from __future__ import annotations

import ssl
from collections.abc import Generator
from contextlib import contextmanager
from dataclasses import dataclass
from datetime import UTC, datetime
from email.utils import parsedate_to_datetime
from typing import Final

from minio.error import InvalidResponseError, MinioException, S3Error, ServerError
from urllib3.exceptions import (
    HTTPError,
    MaxRetryError,
    NameResolutionError,
    NewConnectionError,
    ProtocolError,
    SSLError,
)
from urllib3.exceptions import TimeoutError as SilentError

from penstock.artifacts.error import ArtifactError, AwayError
from penstock.artifacts.s3.config import S3Config

_GONE: Final = frozenset({"NoSuchKey", "NoSuchUpload", "ResourceNotFound"})
_EXPIRED = frozenset({"ExpiredToken", "ExpiredTokenException", "TokenRefreshRequired"})
_BAD_TOKEN = frozenset({"InvalidToken", "InvalidTokenId", "InvalidClientTokenId"})
_REGION = frozenset(
    {"AuthorizationHeaderMalformed", "PermanentRedirect", "IllegalLocationConstraintException"}
)
_FULL = frozenset({"XMinioStorageFull", "QuotaExceeded", "XMinioAdminBucketQuotaExceeded"})
_BUSY = frozenset(
    {"SlowDown", "SlowDownRead", "SlowDownWrite", "ServiceUnavailable", "InternalError", "RequestTimeout"}
)


class NothingThereError(ArtifactError):
    """The service answered, and there is no such object."""


@dataclass(frozen=True, slots=True)
class Interpreter:
    """Knows where requests went, and as whom, for the sentences that need it."""

    config: S3Config
    user: str

    @contextmanager
    def explained(self, action: str, bucket: str) -> Generator[None]:
        """Turns what the SDK and urllib3 raise inside into `ArtifactError("cannot <action>: <why>")`."""
        try:
            yield
        except S3Error as problem:
            kind = NothingThereError if problem.code in _GONE else ArtifactError
            kind = AwayError if problem.code in _BUSY else kind
            raise kind(f"cannot {action}: {self._said(problem, bucket)}") from problem
        except (MinioException, HTTPError, ValueError) as problem:
            kind = AwayError if isinstance(problem, HTTPError | ServerError) else ArtifactError
            raise kind(f"cannot {action}: {self._kept_away(problem)}") from problem

    def _said(self, problem: S3Error, bucket: str) -> str:
        code = problem.code or ""
        place = self.config.place
        if code == "NoSuchBucket":
            return f"there is no bucket '{bucket}' at {place}; make it, or write another s3://bucket/prefix"
        if code in _GONE:
            return "there is nothing"
        if code in ("AccessDenied", "AllAccessDisabled"):
            return f"{self.user} may not do this in the bucket '{bucket}' at {place}; let its policy allow it"
        if code == "InvalidAccessKeyId":
            return f"{place} does not know {self.user}; correct AWS_ACCESS_KEY_ID"
        if code == "SignatureDoesNotMatch":
            return f"the secret is not that of {self.user} at {place}; correct AWS_SECRET_ACCESS_KEY"
        if code in _EXPIRED:
            return f"the session of {self.user} has expired; get new credentials"
        if code in _BAD_TOKEN:
            return f"{place} does not know the session of {self.user}; correct AWS_SESSION_TOKEN, or unset it"
        if code == "RequestTimeTooSkewed":
            return _skew(problem)
        if code in _REGION:
            return f"the region is wrong: {_words(problem.message)}; set AWS_REGION to that of the bucket"
        if code in _FULL:
            return f"the storage at {place} is full; free some space and run the task again"
        if code in ("PreconditionFailed", "InvalidRange"):
            return "it was changed while it was read"
        if code in _BUSY:
            return f"{place} is overloaded or broken ({code}: {_words(problem.message)}); try again later"
        return f"{place} answers {code or 'an error'}: {_words(problem.message)}"

    def _kept_away(self, problem: Exception) -> str:
        place = self.config.endpoint or "https://s3.amazonaws.com"
        if isinstance(problem, InvalidResponseError | ServerError):
            return (
                f"{place} does not answer as S3 does; AWS_ENDPOINT_URL_S3 must be the address of its API, "
                "and begin with https:// if it speaks TLS"
            )
        reason = problem.reason if isinstance(problem, MaxRetryError) else problem
        cause = reason.args[-1] if isinstance(reason, SSLError) and reason.args else reason
        if isinstance(cause, ssl.SSLCertVerificationError):
            return (
                f"the certificate of {place} cannot be verified ({cause.verify_message}); name the file of "
                "its CA in AWS_CA_BUNDLE"
            )
        if isinstance(reason, SSLError):
            return f"{place} does not speak TLS as it should ({_words(str(cause))}); should it be http://?"
        away = (
            "is AWS_ENDPOINT_URL_S3 right?" if self.config.endpoint else "is AWS_ENDPOINT_URL_S3 to be set?"
        )
        if isinstance(reason, NameResolutionError):
            return f"no machine has the name in {place}; {away}"
        if isinstance(reason, NewConnectionError):
            return f"nothing answers at {place}; is the service running, and {away}"
        if isinstance(reason, SilentError):
            return f"{place} was silent for too long; can it be reached, and {away}"
        if isinstance(reason, ProtocolError):
            return f"{place} broke the connection off, again and again; try again later"
        return f"{place}: {_words(str(reason or problem))}"


def _skew(problem: S3Error) -> str:
    """The service's clock is in the head of its answer."""
    here = _now()
    try:
        there = parsedate_to_datetime(problem.response.headers["Date"])
        minutes = round((here - there).total_seconds() / 60)
    except (KeyError, ValueError, TypeError):
        minutes = 0
    if minutes:
        side = "ahead of" if minutes > 0 else "behind"
        which = f"this machine's clock is {abs(minutes)} minutes {side} the service's"
    else:
        which = "this machine's clock and the service's are more than 15 minutes apart"
    return f"{which}, and S3 allows 15; set the wrong one of the two by NTP"


def _words(text: str | None) -> str:
    return " ".join((text or "no reason").split()).rstrip(".")


def _now() -> datetime:
    return datetime.now(UTC)

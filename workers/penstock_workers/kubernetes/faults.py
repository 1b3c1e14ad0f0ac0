"""What the API server's refusals mean: one error class for each thing that can be done about it, with one
sentence.
"""

from __future__ import annotations

import re
from dataclasses import dataclass
from typing import Final

from penstock.errors import TaskError
from penstock.execution.launcher import LauncherError
from penstock.model import JsonObject

AGAIN: Final = frozenset({429, 500, 502, 503, 504})
RBAC: Final = "compose/kubernetes/rbac.yaml"
_FORBIDDEN: Final = re.compile(
    r'User "(?P<user>[^"]*)" cannot (?P<verb>\w+) resource "(?P<resource>[^"]+)"'
    r'(?:.* in the namespace "(?P<namespace>[^"]*)")?'
)


class UnreachableError(LauncherError):
    """The API server did not answer, for as long as it was asked."""


class BusyError(UnreachableError):
    """The API server has too much to do, and says so."""


class TroubleError(UnreachableError):
    """The API server answers, but what it stands on does not: its database, a node."""


class DeniedError(LauncherError):
    """No credentials that it takes, or a permission is missing; trying again does not help."""


class InvalidObjectError(TaskError):
    """The API server refuses an object for what is in it; the text is its own reason."""


class FullError(LauncherError):
    """A quota is used up: later there may be room."""


class ExistsError(LauncherError):
    """An object of that name is there already."""


class GoneError(LauncherError):
    """The resource version of a watch is too old: list again."""


class MissingError(LauncherError):
    """There is no object of that name."""


@dataclass(frozen=True, slots=True)
class Server:
    """Who was asked, as sentences name it."""

    host: str
    context: str


def fault_of(server: Server, verb: str, status: int, said: JsonObject) -> LauncherError | TaskError:
    """What an answer of the API server means. `said` is its Status object."""
    message = " ".join(str(said.get("message") or f"HTTP status {status}").split())
    match status:
        case 401:
            return DeniedError(
                f"the Kubernetes API server {server.host} does not accept the credentials of context "
                f"'{server.context}': they have expired or were revoked; log in to the cluster again"
            )
        case 403 if "exceeded quota" in message:
            return FullError(f"the quota of the namespace is used up: {_after(message, 'exceeded quota: ')}")
        case 403:
            return DeniedError(_forbidden(server, verb, message))
        case 404:
            return MissingError(message)
        case 409 if said.get("reason") == "AlreadyExists":
            return ExistsError(message)
        case 410:
            return GoneError(message)
        case 429:
            return BusyError(f"the Kubernetes API server {server.host} has too much to do: {message}")
        case 400 | 422 | 413:
            return InvalidObjectError(message)
        case _ if status in AGAIN:
            return TroubleError(f"the Kubernetes API server {server.host} is in trouble: {message}")
        case _:
            return LauncherError(f"the Kubernetes API server {server.host} says: {message}")


def _forbidden(server: Server, verb: str, message: str) -> str:
    found = _FORBIDDEN.search(message)
    if found is None:
        return f"the Kubernetes API server forbids to {verb}: {message}"
    where = f" in namespace '{found['namespace']}'" if found["namespace"] else ""
    return (
        f"'{found['user']}' may not {found['verb']} {found['resource']}{where}: a role must grant it the "
        f"verb '{found['verb']}' on '{found['resource']}' ({RBAC} has all that penstock needs)"
    )


def _after(message: str, mark: str) -> str:
    return message.partition(mark)[2] or message

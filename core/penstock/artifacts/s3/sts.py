"""Credentials for a while and for a purpose, from the Security Token Service of AWS or of MinIO."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Final
from urllib.parse import urlencode, urlsplit
from xml.etree import ElementTree as ET

from minio.credentials.credentials import Credentials
from minio.helpers import sha256_hash
from minio.signer import sign_v4_sts
from minio.time import to_amz_date, utcnow
from urllib3.exceptions import HTTPError

from penstock.artifacts.error import ArtifactError
from penstock.artifacts.s3.client import DEFAULT_REGION, Client, http_client
from penstock.artifacts.s3.config import S3Config
from penstock.artifacts.s3.patience import SECONDS

SHORTEST: Final = 900
LONGEST: Final = 7 * 24 * 3600
"""Seconds of a session at MinIO; AWS allows 12 hours, and what the role says."""

_AT_LEAST_GIVEN = 3600
"""Seconds that every role of AWS allows, and that are asked for where more was refused."""


@dataclass(frozen=True, slots=True)
class Session:
    access_key: str
    secret_key: str = field(repr=False)
    token: str = field(repr=False)
    seconds: int


def assume_role(
    client: Client, config: S3Config, policy: str, seconds: int, *, role: str, name: str
) -> Session:
    """Credentials that may do what `policy` allows, of what the client's own may do, for `seconds`.

    Shorter ones where the service does not give so long ones. Not the SDK's AssumeRoleProvider, which has no
    words for a refusal and cannot ask as a session. Raises ArtifactError.
    """
    own = client.credentials
    if own is None:
        raise ArtifactError("there are no credentials to make a task's from; set AWS_ACCESS_KEY_ID")
    if not (role or config.endpoint):
        raise ArtifactError(
            "AWS gives credentials to a task for a role only; set PENSTOCK_S3_TASK_ROLE to the ARN of one"
        )
    for lasting in (max(SHORTEST, min(seconds, LONGEST)), _AT_LEAST_GIVEN):
        asked = {
            "Action": "AssumeRole",
            "Version": "2011-06-15",
            "DurationSeconds": str(lasting),
            "Policy": policy,
            **({"RoleArn": role, "RoleSessionName": name} if role else {}),
        }
        answer, element = _ask(config, own, asked)
        if answer == 200:
            return Session(
                _text(element, "AccessKeyId"),
                _text(element, "SecretAccessKey"),
                _text(element, "SessionToken"),
                lasting,
            )
        code, message = _text(element, "Code"), _text(element, "Message")
        if "DurationSeconds" not in message or lasting == _AT_LEAST_GIVEN:
            break
    raise ArtifactError(
        f"{_endpoint(config)} gives the access key '{own.access_key}' no credentials for a task: "
        f"{code or answer}: {' '.join(message.split()).rstrip('.') or 'no reason'}"
    )


def _ask(config: S3Config, own: Credentials, asked: Mapping[str, str]) -> tuple[int, ET.Element | None]:
    url = _endpoint(config)
    body = urlencode(asked)
    now = utcnow()
    headers = {
        "Content-Type": "application/x-www-form-urlencoded",
        "Host": urlsplit(url).netloc,
        "X-Amz-Date": to_amz_date(now),
    }
    if own.session_token:
        headers["X-Amz-Security-Token"] = own.session_token
    signed = sign_v4_sts(
        method="POST",
        url=urlsplit(url),
        region=config.region or DEFAULT_REGION,
        headers=dict(headers),
        credentials=own,
        content_sha256=sha256_hash(body),
        date=now,
    )
    try:
        answer = http_client(config, url, SECONDS).urlopen("POST", url, body=body, headers=dict(signed))
        return answer.status, ET.fromstring(answer.data) if answer.data else None
    except (HTTPError, ET.ParseError) as problem:
        raise ArtifactError(
            f"{url} gives no credentials for tasks: {' '.join(str(problem).split())}; does it have an STS?"
        ) from problem


def _endpoint(config: S3Config) -> str:
    """MinIO's is its S3 endpoint itself."""
    return config.sts_endpoint or f"https://sts.{config.region or DEFAULT_REGION}.amazonaws.com"


def _text(element: ET.Element | None, name: str) -> str:
    return (element.findtext(f".//{{*}}{name}") or "") if element is not None else ""

"""Who asks: the first of the places that AWS's and MinIO's tools look at which has an answer."""

from __future__ import annotations

import configparser
import os
import threading
from collections.abc import Callable, Mapping

from minio.credentials.credentials import Credentials
from minio.credentials.providers import (
    AWSConfigProvider,
    EnvMinioProvider,
    IamAwsProvider,
    MinioClientConfigProvider,
    Provider,
    StaticProvider,
)
from urllib3 import PoolManager, Retry, Timeout
from urllib3.exceptions import HTTPError

from penstock.artifacts.error import ArtifactError
from penstock.artifacts.s3.config import S3Config

_METADATA_SECONDS = 2.0
"""For an answer of the machine's metadata service, which is next door or not there at all."""

_ROLES = (
    "AWS_WEB_IDENTITY_TOKEN_FILE",
    "AWS_CONTAINER_CREDENTIALS_RELATIVE_URI",
    "AWS_CONTAINER_CREDENTIALS_FULL_URI",
)


class Chain(Provider):
    """The providers in turn; the one that answered stays. None of them: `anonymous`.

    Not the SDK's own chain, which ends at a network error and knows no request without credentials.
    """

    def __init__(self, providers: list[Callable[[], Provider]]) -> None:
        self._providers = providers
        self._chosen: Provider | None = None
        self._asked = False
        self._lock = threading.Lock()

    def find(self) -> Credentials | None:
        with self._lock:
            if self._asked:
                return None if self._chosen is None else self._chosen.retrieve()
            for make in self._providers:
                try:
                    provider = make()
                    found = provider.retrieve()
                except (ValueError, TypeError, KeyError, OSError, HTTPError, configparser.Error):
                    continue
                self._chosen, self._asked = provider, True
                return found
            self._asked = True
            return None

    def retrieve(self) -> Credentials:
        found = self.find()
        if found is None:
            raise ValueError("no credentials")
        return found


def chain(config: S3Config, variables: Mapping[str, str] = os.environ) -> Chain:
    """The key pair of the configuration, or else: the profile; MinIO's variables; its client's settings; the
    role of the pod or machine.

    Raises ArtifactError for a half of a pair, and for a profile that was asked for and is not there.
    """
    if bool(config.access_key) != bool(config.secret_key):
        missing = "AWS_SECRET_ACCESS_KEY" if config.access_key else "AWS_ACCESS_KEY_ID"
        raise ArtifactError(f"{missing} is not set, and the other half of the pair is; set both or neither")
    if config.access_key:
        token = config.session_token or None
        return Chain([lambda: StaticProvider(config.access_key, config.secret_key, token)])
    profile = config.profile or None
    if profile is not None:
        try:
            AWSConfigProvider(profile=profile).retrieve()
        except (ValueError, configparser.Error) as problem:
            raise ArtifactError(
                f"AWS_PROFILE names the profile '{profile}', of which ~/.aws/credentials has no key pair"
            ) from problem
    providers: list[Callable[[], Provider]] = [
        lambda: AWSConfigProvider(profile=profile),
        EnvMinioProvider,
        MinioClientConfigProvider,
    ]
    if _may_have_role(config, variables):
        providers.append(lambda: IamAwsProvider(http_client=_impatient(), region=config.region or None))
    return Chain(providers)


def _may_have_role(config: S3Config, variables: Mapping[str, str]) -> bool:
    """The metadata service is asked for AWS only: elsewhere nobody would know what it says."""
    if any(variables.get(name) for name in _ROLES):
        return True
    return not config.endpoint and variables.get("AWS_EC2_METADATA_DISABLED", "").lower() != "true"


def _impatient() -> PoolManager:
    return PoolManager(timeout=Timeout(_METADATA_SECONDS), retries=Retry(total=1, backoff_factor=0.1))

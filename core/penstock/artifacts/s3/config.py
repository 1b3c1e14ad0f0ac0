"""How S3 is reached: the names that AWS's tools know, from the environment or what stands in for it."""

from __future__ import annotations

import configparser
import os
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Final
from urllib.parse import urlsplit

from penstock.artifacts.error import ArtifactError

PATH_STYLE: Final = "PENSTOCK_S3_PATH_STYLE"
_CA = ("AWS_CA_BUNDLE", "SSL_CERT_FILE", "REQUESTS_CA_BUNDLE")
_TRUTH = {
    **dict.fromkeys(("true", "yes", "on", "1"), True),
    **dict.fromkeys(("false", "no", "off", "0"), False),
}


@dataclass(frozen=True, slots=True)
class S3Config:
    """`endpoint` is a URL, empty for AWS; `path_style` None where the endpoint decides. Without `access_key`
    the credentials come from wherever AWS's and MinIO's tools would look.
    """

    endpoint: str = ""
    region: str = ""
    path_style: bool | None = None
    ca_bundle: str = ""
    profile: str = ""
    access_key: str = ""
    secret_key: str = field(default="", repr=False)
    session_token: str = field(default="", repr=False)
    sts_endpoint: str = ""

    @staticmethod
    def read(variables: Mapping[str, str]) -> S3Config:
        """Raises ArtifactError, naming the variable, for what cannot be used."""
        profile = variables.get("AWS_PROFILE", "")
        shared = _shared(variables, profile)
        endpoint = _endpoint(variables, shared, "AWS_ENDPOINT_URL_S3")
        return S3Config(
            endpoint=endpoint,
            region=variables.get("AWS_REGION")
            or variables.get("AWS_DEFAULT_REGION")
            or shared.get("region", ""),
            path_style=_path_style(variables.get(PATH_STYLE, "")),
            ca_bundle=_ca_bundle(variables),
            profile=profile,
            access_key=variables.get("AWS_ACCESS_KEY_ID", ""),
            secret_key=variables.get("AWS_SECRET_ACCESS_KEY", ""),
            session_token=variables.get("AWS_SESSION_TOKEN", ""),
            sts_endpoint=_endpoint(variables, {}, "AWS_ENDPOINT_URL_STS") or endpoint,
        )

    @property
    def place(self) -> str:
        """What an error calls the service."""
        return self.endpoint or "AWS"


def _endpoint(variables: Mapping[str, str], shared: Mapping[str, str], name: str) -> str:
    for variable in (name, "AWS_ENDPOINT_URL"):
        if found := variables.get(variable, ""):
            return _checked(found, variable)
    found = shared.get("endpoint_url", "")
    return _checked(found, "endpoint_url in ~/.aws/config") if found else ""


def _checked(text: str, origin: str) -> str:
    try:
        url = urlsplit(text)
        fits = url.scheme in ("http", "https") and bool(url.hostname) and url.path in ("", "/")
        fits = fits and not (url.query or url.fragment or url.username) and url.port != 0
    except ValueError:
        fits = False
    if not fits:
        raise ArtifactError(
            f"{origin} must be the URL of an S3 service without a path, such as https://minio.example:9000, "
            f"not {text!r}"
        )
    return text.rstrip("/")


def _path_style(word: str) -> bool | None:
    if not word.strip():
        return None
    if word.strip().lower() not in _TRUTH:
        raise ArtifactError(f"{PATH_STYLE} must be true or false, not {word!r}")
    return _TRUTH[word.strip().lower()]


def _ca_bundle(variables: Mapping[str, str]) -> str:
    for name in _CA:
        if found := variables.get(name, ""):
            if not os.path.isfile(found):
                raise ArtifactError(f"{name} names {found!r}, which is no file; it must hold CA certificates")
            return found
    return ""


def _shared(variables: Mapping[str, str], profile: str) -> Mapping[str, str]:
    """The profile's part of ~/.aws/config."""
    home = variables.get("HOME") or str(Path.home())
    path = variables.get("AWS_CONFIG_FILE") or os.path.join(home, ".aws", "config")
    parser = configparser.ConfigParser(interpolation=None)
    try:
        parser.read(path)
    except (configparser.Error, UnicodeDecodeError) as problem:
        raise ArtifactError(f"{path!r} cannot be read: {' '.join(str(problem).split())}") from problem
    section = f"profile {profile}" if profile and profile != "default" else "default"
    return dict(parser[section]) if parser.has_section(section) else {}

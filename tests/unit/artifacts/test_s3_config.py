from __future__ import annotations

from pathlib import Path

import pytest

from penstock.artifacts import ArtifactError, open_store
from penstock.artifacts.s3.client import connect
from penstock.artifacts.s3.config import S3Config
from penstock.artifacts.s3.store import S3ArtifactStore

KEYS = {"AWS_ACCESS_KEY_ID": "AKIA", "AWS_SECRET_ACCESS_KEY": "secret"}


@pytest.fixture(autouse=True)
def nobody(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A home without settings of AWS's or MinIO's tools."""
    for name in ("AWS_PROFILE", "AWS_SHARED_CREDENTIALS_FILE", "MINIO_ACCESS_KEY", "SSL_CERT_FILE"):
        monkeypatch.delenv(name, raising=False)
    monkeypatch.setenv("HOME", str(tmp_path))
    monkeypatch.setenv("AWS_EC2_METADATA_DISABLED", "true")
    return tmp_path


def test_the_names_are_those_of_aws() -> None:
    found = S3Config.read(
        {
            **KEYS,
            "AWS_ENDPOINT_URL": "http://other:1",
            "AWS_ENDPOINT_URL_S3": "http://minio:9000/",
            "AWS_DEFAULT_REGION": "eu-west-1",
            "AWS_SESSION_TOKEN": "token",
            "PENSTOCK_S3_PATH_STYLE": "off",
        }
    )
    assert (found.endpoint, found.region, found.path_style) == ("http://minio:9000", "eu-west-1", False)
    assert (found.access_key, found.secret_key, found.session_token) == ("AKIA", "secret", "token")
    assert found.sts_endpoint == "http://other:1"


def test_no_secret_is_in_the_text_of_a_configuration() -> None:
    text = repr(S3Config.read({**KEYS, "AWS_SESSION_TOKEN": "token"}))
    assert "secret'" not in text and "'token'" not in text


@pytest.mark.parametrize(
    ("variables", "complaint"),
    [
        ({"AWS_ENDPOINT_URL_S3": "127.0.0.1:9000"}, "AWS_ENDPOINT_URL_S3 must be the URL of an S3 service"),
        ({"AWS_ENDPOINT_URL": "http://host/path"}, "AWS_ENDPOINT_URL must be the URL of an S3 service"),
        ({"AWS_ENDPOINT_URL_S3": "http://host:port"}, "not 'http://host:port'"),
        ({"AWS_ENDPOINT_URL_S3": "ftp://host"}, "not 'ftp://host'"),
        ({"PENSTOCK_S3_PATH_STYLE": "maybe"}, "PENSTOCK_S3_PATH_STYLE must be true or false, not 'maybe'"),
        ({"AWS_CA_BUNDLE": "/no/file"}, "AWS_CA_BUNDLE names '/no/file', which is no file"),
    ],
)
def test_a_value_that_cannot_be_used_is_named_with_its_variable(
    variables: dict[str, str], complaint: str
) -> None:
    with pytest.raises(ArtifactError) as caught:
        open_store("s3://bucket/key", variables)
    assert complaint in str(caught.value)


def test_the_profile_says_region_and_endpoint(nobody: Path) -> None:
    (nobody / ".aws").mkdir()
    (nobody / ".aws" / "config").write_text(
        "[default]\nregion = eu-north-1\n[profile lab]\nregion = eu-west-2\nendpoint_url = http://lab:9000\n"
    )
    assert S3Config.read({"HOME": str(nobody)}).region == "eu-north-1"
    found = S3Config.read({"HOME": str(nobody), "AWS_PROFILE": "lab"})
    assert (found.region, found.endpoint) == ("eu-west-2", "http://lab:9000")
    assert S3Config.read({"HOME": str(nobody), "AWS_PROFILE": "lab", "AWS_REGION": "x"}).region == "x"


def test_credentials_come_from_the_first_place_that_has_them(
    nobody: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    endpoint = {"AWS_ENDPOINT_URL_S3": "http://minio:9000"}

    def user(**variables: str) -> str:
        found = connect(S3Config.read({**endpoint, **variables})).credentials
        return found.access_key if found else "nobody"

    assert user() == "nobody"
    (nobody / ".mc").mkdir()
    (nobody / ".mc" / "config.json").write_text(
        '{"aliases": {"s3": {"accessKey": "of-mc", "secretKey": "s"}}}'
    )
    assert user() == "of-mc"
    monkeypatch.setenv("MINIO_ACCESS_KEY", "of-minio")
    monkeypatch.setenv("MINIO_SECRET_KEY", "s")
    assert user() == "of-minio"
    (nobody / ".aws").mkdir()
    (nobody / ".aws" / "credentials").write_text(
        "[default]\naws_access_key_id = of-file\naws_secret_access_key = s\n"
        "[lab]\naws_access_key_id = of-lab\naws_secret_access_key = s\n"
    )
    assert user() == "of-file"
    assert user(AWS_PROFILE="lab") == "of-lab"
    assert user(AWS_PROFILE="lab", **KEYS) == "AKIA"
    with pytest.raises(ArtifactError, match="AWS_PROFILE names the profile 'none'"):
        user(AWS_PROFILE="none")
    with pytest.raises(ArtifactError, match="AWS_SECRET_ACCESS_KEY is not set"):
        user(AWS_ACCESS_KEY_ID="AKIA")


@pytest.mark.parametrize(
    ("variables", "url"),
    [
        ({"AWS_ENDPOINT_URL_S3": "http://minio:9000"}, "http://minio:9000/bucket/key"),
        (
            {"AWS_ENDPOINT_URL_S3": "http://minio:9000", "PENSTOCK_S3_PATH_STYLE": "false"},
            "http://bucket.minio:9000/key",
        ),
        ({"AWS_REGION": "eu-west-1"}, "https://bucket.s3.eu-west-1.amazonaws.com/key"),
        (
            {"AWS_REGION": "eu-west-1", "PENSTOCK_S3_PATH_STYLE": "true"},
            "https://s3.eu-west-1.amazonaws.com/bucket/key",
        ),
        ({"AWS_REGION": "cn-north-1"}, "https://bucket.s3.cn-north-1.amazonaws.com.cn/key"),
    ],
)
def test_the_bucket_is_in_the_path_but_at_aws(variables: dict[str, str], url: str) -> None:
    client = connect(S3Config.read({**KEYS, **variables}))
    signed = client.presigned_get_object(bucket_name="bucket", object_name="key")
    assert signed.partition("?")[0] == url


def test_one_store_serves_both_schemes() -> None:
    assert isinstance(open_store("s3://bucket/key", {}), S3ArtifactStore)
    assert isinstance(open_store("minio://mlpipeline/v2", {}), S3ArtifactStore)

"""The forms in which a value is recognised."""

from __future__ import annotations

import base64
import json
import re
from urllib.parse import quote, quote_plus

import pytest
from hypothesis import given
from hypothesis import strategies as st

from penstock.execution.secrets.forms import environment_secrets, forms, masker_of

PASSWORD = 'p&ss "w\\rd"/é+'
VALUES = st.text(min_size=4, max_size=40).filter(lambda text: len(text.encode().strip()) >= 4)


def masked(value: bytes, text: str) -> str:
    return masker_of([value]).text(text)


@pytest.mark.parametrize(
    "form",
    [
        PASSWORD,
        base64.b64encode(PASSWORD.encode()).decode().rstrip("="),
        base64.urlsafe_b64encode(PASSWORD.encode()).decode().rstrip("="),
        quote(PASSWORD, safe=""),
        quote(PASSWORD),
        quote_plus(PASSWORD),
        re.sub("%..", lambda found: found[0].lower(), quote(PASSWORD)),
        json.dumps(PASSWORD)[1:-1],
        json.dumps(PASSWORD, ensure_ascii=False)[1:-1],
        repr(PASSWORD)[1:-1],
        repr(PASSWORD.encode())[2:-1],
    ],
)
def test_the_common_encodings_are_masked_whole(form: str) -> None:
    found = masked(PASSWORD.encode(), f"[{form}]")
    assert found in ("[***]", f"[***{form[-1]}]"), found


@given(VALUES, st.binary(max_size=8), st.binary(max_size=8))
def test_base64_is_found_inside_of_something_longer(value: str, before: bytes, after: bytes) -> None:
    """As in an HTTP header: `Basic base64(user:password)`."""
    secret = value.encode().strip()
    encoded = base64.b64encode(before + secret + after).decode()
    start, stop = -(-len(before) * 8 // 6), (len(before) + len(secret)) * 8 // 6
    inner = encoded[start:stop]
    if len(inner) >= 4:
        assert inner not in masked(secret, encoded)


@given(VALUES)
def test_white_space_around_a_value_does_not_matter(value: str) -> None:
    assert forms(f" {value}\n".encode()) == forms(value.encode())


def test_each_line_of_a_value_is_masked_where_it_stands_alone() -> None:
    key = b"-----BEGIN KEY-----\nMIIEvQIBADANBg\n  kqhkiG9w0BAQ\nab\n-----END KEY-----\n"
    text = "key: MIIEvQIBADANBg, kqhkiG9w0BAQ; ab"
    assert masked(key, text) == "key: ***, ***; ab"
    assert masked(key, key.decode()).strip() == "***"


def test_base64_in_lines_is_masked() -> None:
    value = bytes(range(256))
    for line in base64.encodebytes(value).decode().splitlines():
        assert masked(value, line).rstrip("=") in ("***", "")


def test_the_password_in_a_url_is_masked_alone_and_unquoted() -> None:
    url = b"postgresql://ann:p%40ssword@db/x"
    assert masked(url, "user ann, p%40ssword or p@ssword") == "user ann, *** or ***"


@pytest.mark.parametrize("value", [b"", b"abc", b" ab \n", b"a\nb\nc", b"\n\n"])
def test_what_is_too_short_is_in_too_many_words(value: bytes) -> None:
    assert all(len(form) >= 4 for form in forms(value))
    assert masked(value, "abc a b c") == "abc a b c"


@given(st.binary(max_size=300))
def test_any_bytes_have_forms(value: bytes) -> None:
    found = forms(value)
    assert (value.strip() in found) == (len(value.strip()) >= 4)


def test_a_long_value_has_not_many_more_forms_than_a_short_one() -> None:
    assert len(forms(b"\n".join(b"line %06d" % number for number in range(50_000)))) < 1000


def test_variables_are_secret_by_their_names_and_by_passwords_in_urls() -> None:
    variables = {
        "HF_TOKEN": "hf_1",
        "AWS_SECRET_ACCESS_KEY": "aws-secret",
        "AWS_ACCESS_KEY_ID": "who asks",
        "MLFLOW_TRACKING_PASSWORD": "mlflow",
        "OPENAI_API_KEY": "sk-1",
        "PIP_INDEX_URL": "https://ann:pip-pw@index/simple",
        "UV_INDEX": "https://ghp_token@index/simple https://ghp_token@index/more",
        "PENSTOCK_DATABASE_URL": "postgresql://postgres@127.0.0.1/x",
        "MLFLOW_TRACKING_URI": "https://mlflow:mlflow-pw@mlflow/x",
        "PENSTOCK_BROKER_URL": "amqp://penstock:penstock@broker/x",
        "TOKENIZERS_PARALLELISM": "false",
        "PATH": "/usr/bin",
    }
    assert set(environment_secrets(variables)) == {
        b"hf_1", b"aws-secret", b"mlflow", b"sk-1", b"pip-pw", b"ghp_token", b"mlflow-pw",
    }  # fmt: skip

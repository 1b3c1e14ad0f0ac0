"""What is wrong with S3, or with how it is reached, is one sentence; a short absence is waited for."""

from __future__ import annotations

import socket
import ssl
import subprocess
import threading
import time
from collections.abc import Callable, Iterator
from datetime import UTC, datetime, timedelta
from pathlib import Path

import pytest

from penstock.artifacts import ArtifactError
from penstock.artifacts.s3.address import parse
from penstock.artifacts.s3.policy import session_policy
from penstock.artifacts.s3.store import S3ArtifactStore
from penstock.artifacts.s3.sts import assume_role
from penstock.artifacts.s3.transfer import PART_BYTES
from tests.documents import Shell, pipeline, write
from tests.integration.penstock_process import Command
from tests.integration.s3_service import Bucket, fresh_bucket
from tests.integration.test_s3_store import noise
from tests.own_server import OwnMinio

pytestmark = pytest.mark.service("s3")


@pytest.fixture
def own(tmp_path: Path) -> Iterator[OwnMinio]:
    """A MinIO to stop."""
    server = OwnMinio(tmp_path / "servers")
    server.start()
    yield server
    server.stop()


def complaint(action: Callable[[], object]) -> str:
    with pytest.raises(ArtifactError) as caught:
        action()
    text = str(caught.value)
    assert "\n" not in text and "Traceback" not in text and "wrong-one" not in text
    return text


def put(store: S3ArtifactStore, uri: str, folder: Path) -> Callable[[], object]:
    source = folder / "source"
    source.write_text("x")
    return lambda: store.put(source, uri)


def test_a_bucket_that_is_missing(bucket: Bucket, tmp_path: Path) -> None:
    store, uri = bucket.store(), "s3://penstock-no-such-bucket/x"
    told = f"there is no bucket 'penstock-no-such-bucket' at {bucket.endpoint}; make it, or write another"
    assert told in complaint(put(store, uri, tmp_path))
    assert told in complaint(lambda: store.get(uri, tmp_path / "copy"))
    assert told in complaint(lambda: store.stat(uri))
    assert told in complaint(lambda: list(store.list(uri)))
    assert told in complaint(lambda: store.check(uri))


def reader_of(bucket: Bucket) -> dict[str, str]:
    """The variables of somebody who may read what is below `in/`, and no more."""
    admin = bucket.store(AWS_REGION="us-east-1")
    policy = session_policy(parse("s3://elsewhere/run"), [parse(bucket.uri("in"))])
    found = assume_role(admin.client(), admin.config, policy, 900, role="", name="test")
    return {
        "AWS_REGION": "us-east-1",
        "AWS_ACCESS_KEY_ID": found.access_key,
        "AWS_SECRET_ACCESS_KEY": found.secret_key,
        "AWS_SESSION_TOKEN": found.token,
    }


def test_a_bucket_that_may_only_be_read(bucket: Bucket, tmp_path: Path) -> None:
    put(bucket.store(), bucket.uri("in/x"), tmp_path)()
    reader = bucket.store(**reader_of(bucket))
    reader.get(bucket.uri("in/x"), tmp_path / "copy")
    told = f"may not do this in the bucket '{bucket.name}' at {bucket.endpoint}; let its policy allow it"
    assert told in complaint(put(reader, bucket.uri("in/y"), tmp_path))
    assert told in complaint(lambda: reader.check(bucket.uri("in")))
    assert told in complaint(lambda: reader.get(bucket.uri("out/x"), tmp_path / "copy"))


def test_nobody(bucket: Bucket, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("HOME", str(tmp_path))
    store = bucket.store(AWS_ACCESS_KEY_ID="", AWS_SECRET_ACCESS_KEY="")
    told = f"a request without credentials may not do this in the bucket '{bucket.name}'"
    assert told in complaint(lambda: store.check(bucket.uri("x")))


def test_a_key_that_nobody_knows(bucket: Bucket, tmp_path: Path) -> None:
    store = bucket.store(AWS_ACCESS_KEY_ID="nobody")
    told = f"{bucket.endpoint} does not know the access key 'nobody'; correct AWS_ACCESS_KEY_ID"
    assert told in complaint(put(store, bucket.uri("x"), tmp_path))
    assert told in complaint(lambda: store.stat(bucket.uri("x")))
    assert told in complaint(lambda: store.check(bucket.uri("x")))


def test_a_wrong_secret(bucket: Bucket, tmp_path: Path) -> None:
    store = bucket.store(AWS_SECRET_ACCESS_KEY="wrong-one")
    told = f"the secret is not that of the access key '{bucket.access_key}' at {bucket.endpoint}"
    assert told in complaint(put(store, bucket.uri("x"), tmp_path))
    assert told in complaint(lambda: store.stat(bucket.uri("x")))


def test_a_session_that_is_none(bucket: Bucket) -> None:
    store = bucket.store(AWS_SESSION_TOKEN="wrong-one")
    assert "correct AWS_SESSION_TOKEN, or unset it" in complaint(lambda: store.check(bucket.uri("x")))


@pytest.mark.parametrize(("minutes", "side"), [(20, "20 minutes ahead of"), (-31, "31 minutes behind")])
def test_clocks_that_differ(
    bucket: Bucket, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, minutes: int, side: str
) -> None:
    store = bucket.store()
    real = datetime.now

    monkeypatch.setattr("minio.time.utcnow", lambda: real(UTC) + timedelta(minutes=minutes))
    monkeypatch.setattr("penstock.artifacts.s3.failure._now", lambda: real(UTC) + timedelta(minutes=minutes))
    told = f"this machine's clock is {side} the service's, and S3 allows 15"
    assert told in complaint(put(store, bucket.uri("x"), tmp_path))
    assert told in complaint(lambda: store.stat(bucket.uri("x")))


def test_an_endpoint_where_nothing_is(bucket: Bucket, tmp_path: Path) -> None:
    store = bucket.store(AWS_ENDPOINT_URL_S3="http://127.0.0.1:1").apart(1.0)
    told = "nothing answers at http://127.0.0.1:1; is the service running, and is AWS_ENDPOINT_URL_S3 right?"
    assert told in complaint(put(store, bucket.uri("x"), tmp_path))


def test_an_endpoint_of_a_name_that_no_machine_has(bucket: Bucket) -> None:
    store = bucket.store(AWS_ENDPOINT_URL_S3="http://nowhere.invalid:9000").apart(1.0)
    told = "no machine has the name in http://nowhere.invalid:9000; is AWS_ENDPOINT_URL_S3 right?"
    assert told in complaint(lambda: store.stat(bucket.uri("x")))


@pytest.mark.parametrize(
    ("root", "settings", "told"),
    [
        ("s3://penstock-no-such-bucket/x", {}, "there is no bucket 'penstock-no-such-bucket'"),
        ("s3://{bucket}", {}, "is a bucket as a whole"),
        ("s3://{bucket}/a/../b", {}, "its key holds '..' between slashes; write the key without it"),
        ("s3://", {}, "names no bucket; write s3://bucket/key"),
        ("s3:/{bucket}/x", {}, "which is no URI such as s3://bucket/prefix"),
        ("s3://{bucket}/x", {"AWS_SECRET_ACCESS_KEY": "wrong-one"}, "correct AWS_SECRET_ACCESS_KEY"),
        (
            "s3://{bucket}/x",
            {"AWS_ACCESS_KEY_ID": "nobody"},
            "does not know the access key 'nobody'; correct",
        ),
        ("s3://{bucket}/x", {"AWS_ENDPOINT_URL_S3": "http://nowhere.invalid"}, "no machine has the name in"),
    ],
)
def test_a_root_that_cannot_be_used_is_said_before_anything_is_recorded(
    s3: Bucket, penstock: Command, root: str, settings: dict[str, str], told: str
) -> None:
    document = write(pipeline("one", Shell("one")), penstock.folder / "one.yaml")

    complaint = penstock(
        "run", document, "--pipeline-root", root.format(bucket=s3.name), **settings
    ).complaint

    assert told in complaint and "wrong-one" not in complaint
    assert not (penstock.home / "penstock.db").exists()


def test_a_root_that_may_only_be_read_is_said_before_anything_is_recorded(
    s3: Bucket, penstock: Command
) -> None:
    document = write(pipeline("one", Shell("one")), penstock.folder / "one.yaml")

    complaint = penstock("run", document, "--pipeline-root", s3.uri("in"), **reader_of(s3)).complaint

    assert (
        f"may not do this in the bucket '{s3.name}'" in complaint and "let its policy allow it" in complaint
    )
    assert not (penstock.home / "penstock.db").exists()


@pytest.fixture
def web() -> Iterator[str]:
    """Something else that speaks HTTP."""
    server = socket.create_server(("127.0.0.1", 0))
    answer = b"HTTP/1.1 404 Not Found\r\nContent-Type: text/html\r\nContent-Length: 2\r\n\r\nno"

    def serve() -> None:
        while True:
            try:
                connection, _ = server.accept()
            except OSError:
                return
            with connection:
                connection.recv(65536)
                connection.sendall(answer)

    thread = threading.Thread(target=serve)
    thread.start()
    yield f"http://127.0.0.1:{server.getsockname()[1]}"
    server.shutdown(socket.SHUT_RDWR)
    server.close()
    thread.join()


def test_an_endpoint_that_is_no_s3(bucket: Bucket, web: str) -> None:
    told = f"{web} does not answer as S3 does; AWS_ENDPOINT_URL_S3 must be the address of its API"
    assert told in complaint(lambda: bucket.store(AWS_ENDPOINT_URL_S3=web).check(bucket.uri("x")))


def test_another_region(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("MINIO_SITE_REGION", "eu-west-1")
    server = OwnMinio(tmp_path / "servers")
    server.start()
    try:
        store = Bucket("any-bucket", server.url, "minioadmin", "minioadmin").store()
        text = complaint(lambda: store.check("s3://any-bucket/x"))
    finally:
        server.stop()
    assert "the region is wrong" in text and "eu-west-1" in text and "set AWS_REGION" in text


@pytest.fixture
def tls(bucket: Bucket, tmp_path: Path) -> Iterator[tuple[str, Path]]:
    """The same service behind TLS, and the certificate of its CA."""
    key, certificate = tmp_path / "key.pem", tmp_path / "certificate.pem"
    subprocess.run(
        [
            *("openssl", "req", "-x509", "-newkey", "rsa:2048", "-nodes", "-days", "1", "-subj", "/CN=test"),
            *("-addext", "subjectAltName=IP:127.0.0.1", "-keyout", str(key), "-out", str(certificate)),
        ],
        check=True,
        capture_output=True,
    )
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    context.load_cert_chain(certificate, key)
    server = socket.create_server(("127.0.0.1", 0))
    host, _, port = bucket.endpoint.removeprefix("http://").partition(":")
    threads: list[threading.Thread] = []

    def copy(source: socket.socket, target: socket.socket) -> None:
        try:
            while data := source.recv(65536):
                target.sendall(data)
        except OSError:
            pass
        for one in (source, target):
            one.close()

    def serve() -> None:
        while True:
            try:
                inside = context.wrap_socket(server.accept()[0], server_side=True)
            except ssl.SSLError:
                continue
            except OSError:
                return
            outside = socket.create_connection((host, int(port)))
            for pair in ((inside, outside), (outside, inside)):
                threads.append(threading.Thread(target=copy, args=pair, daemon=True))
                threads[-1].start()

    threads.append(threading.Thread(target=serve))
    threads[0].start()
    yield f"https://127.0.0.1:{server.getsockname()[1]}", certificate
    server.shutdown(socket.SHUT_RDWR)
    server.close()
    threads[0].join()


def test_a_certificate_of_a_ca_that_is_not_known(
    bucket: Bucket, tls: tuple[str, Path], tmp_path: Path
) -> None:
    endpoint, certificate = tls
    begun = time.monotonic()
    told = f"the certificate of {endpoint} cannot be verified (self-signed certificate); name the file of"
    unknown = bucket.store(AWS_ENDPOINT_URL_S3=endpoint)
    assert told in complaint(put(unknown, bucket.uri("x"), tmp_path))
    assert time.monotonic() - begun < 20
    known = bucket.store(AWS_ENDPOINT_URL_S3=endpoint, AWS_CA_BUNDLE=str(certificate))
    put(known, bucket.uri("x"), tmp_path)()
    assert known.stat(bucket.uri("x")) is not None


def test_https_where_http_is_spoken(bucket: Bucket, monkeypatch: pytest.MonkeyPatch) -> None:
    endpoint = bucket.endpoint.replace("http://", "https://")
    store = bucket.store(AWS_ENDPOINT_URL_S3=endpoint)
    assert "should it be http://?" in complaint(lambda: store.check(bucket.uri("x")))


def test_http_where_tls_is_spoken(bucket: Bucket, tls: tuple[str, Path]) -> None:
    endpoint = tls[0].replace("https://", "http://")
    store = bucket.store(AWS_ENDPOINT_URL_S3=endpoint)
    text = complaint(lambda: store.check(bucket.uri("x")))
    assert endpoint in text


@pytest.mark.service("servers")
def test_a_service_that_is_away_for_a_while_is_waited_for(own: OwnMinio, tmp_path: Path) -> None:
    with fresh_bucket(own.url) as bucket:
        store, uri = bucket.store(), bucket.uri("large")
        source = noise(tmp_path / "source", 12 * PART_BYTES)
        away: list[threading.Timer] = []

        def stop(done: int, total: int) -> None:
            if done >= total // 2 and not away:
                own.crash()
                away.append(threading.Timer(8.0, own.start))
                away[0].start()

        stored = store.put(source, uri, progress=stop)
        away.pop().join()
        assert store.get(uri, tmp_path / "copy", expected=stored, progress=stop) == stored
        away.pop().join()
        own.stop()
        back = threading.Timer(5.0, own.start)
        back.start()
        assert store.stat(uri) is not None
        back.join()


@pytest.mark.service("servers")
def test_a_service_that_stays_away_is_one_sentence(own: OwnMinio, tmp_path: Path) -> None:
    with fresh_bucket(own.url) as bucket:
        store = bucket.store().apart(1.0)
        put(store, bucket.uri("x"), tmp_path)()
        source = noise(tmp_path / "large", 6 * PART_BYTES)

        def stop(done: int, total: int) -> None:
            if done >= total // 2:
                own.stop()

        begun = time.monotonic()
        told = f"nothing answers at {own.url}"
        assert told in complaint(lambda: store.put(source, bucket.uri("large"), progress=stop))
        assert told in complaint(lambda: store.stat(bucket.uri("x")))
        assert told in complaint(lambda: store.get(bucket.uri("x"), tmp_path / "copy"))
        assert time.monotonic() - begun < 30
        own.start()
        assert store.stat(bucket.uri("large")) is None

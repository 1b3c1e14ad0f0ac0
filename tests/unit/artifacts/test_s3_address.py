from __future__ import annotations

import pytest

from penstock.artifacts import ArtifactError, under
from penstock.artifacts.s3.address import parse


@pytest.mark.parametrize(
    ("uri", "bucket", "key"),
    [
        ("s3://bucket/key", "bucket", "key"),
        ("S3://bucket/a/b c+%20#?&=ü\n", "bucket", "a/b c+%20#?&=ü\n"),
        ("minio://mlpipeline/v2/artifacts/", "mlpipeline", "v2/artifacts"),
        ("s3://my.bucket-1", "my.bucket-1", ""),
        ("s3://bucket/", "bucket", ""),
        ("s3://bucket/..a/b..", "bucket", "..a/b.."),
    ],
)
def test_bucket_and_key_stand_in_a_uri_as_they_are(uri: str, bucket: str, key: str) -> None:
    found = parse(uri)
    assert (found.bucket, found.key) == (bucket, key)


@pytest.mark.parametrize(
    ("uri", "complaint"),
    [
        ("s3://", "names no bucket; write s3://bucket/key"),
        ("s3:///key", "names no bucket; write s3://bucket/key"),
        (
            "s3://My_Bucket/key",
            "names the bucket 'My_Bucket', which cannot be one: a bucket's name has 3",
        ),
        ("s3://ab/key", "names the bucket 'ab', which cannot be one"),
        ("s3://-ab-/key", "names the bucket '-ab-', which cannot be one"),
        ("s3://a..b/key", "names the bucket 'a..b', which cannot be one"),
        ("s3://192.168.0.1/key", "names the bucket '192.168.0.1', which cannot be one"),
        ("s3://user:pass@bucket/key", "which cannot be one"),
        ("s3://bucket/a/../b", "its key holds '..' between slashes; write the key without it"),
        ("s3://bucket/..", "its key holds '..' between slashes"),
        ("s3://bucket/./b", "its key holds '.' between slashes"),
        ("s3://bucket//key", "its key has nothing between two slashes"),
        ("s3://bucket/a//b", "its key has nothing between two slashes"),
        ("s3://bucket/a\0b", "its key holds a NUL character"),
        ("s3://bucket/\udcff", "not valid UTF-8"),
        ("s3://bucket/" + "ü" * 513, "its key has 1026 bytes, and S3 allows 1024"),
        ("file:///x", "is not an s3:// URI"),
    ],
)
def test_a_uri_that_names_no_place_in_s3_is_one_sentence(uri: str, complaint: str) -> None:
    with pytest.raises(ArtifactError) as caught:
        parse(uri)
    assert complaint in str(caught.value)
    assert "\n" not in str(caught.value)


def test_a_name_below_a_uri_is_not_encoded() -> None:
    assert under("s3://bucket/a", "b c%20#?") == "s3://bucket/a/b c%20#?"
    assert parse("s3://bucket/a").file("b c%20#?") == "a/b c%20#?"

#!/usr/bin/env python3
"""minio-py against a running gateway. Run by `run`."""

import io
import os
import urllib.request
from datetime import timedelta

from minio import Minio
from minio.commonconfig import REPLACE, ComposeSource, CopySource
from minio.deleteobjects import DeleteObject
from minio.error import S3Error

from checks import HOST, KEY, SECRET, check, run_all

BUCKET = "compat-minio"
minio = Minio(HOST, KEY, SECRET, secure=False, region="us-east-1")


def read(key, **more):
    answer = minio.get_object(bucket_name=BUCKET, object_name=key, **more)
    try:
        return answer.read()
    finally:
        answer.close()
        answer.release_conn()


def put(key, body, **more):
    return minio.put_object(bucket_name=BUCKET, object_name=key, data=io.BytesIO(body), length=len(body), **more)


def fails(code, call, *arguments, **more):
    try:
        call(*arguments, **more)
    except S3Error as error:
        assert error.code == code, f"{error.code} instead of {code}"
    else:
        raise AssertionError(f"it succeeded; {code} was expected")


def keys(**more):
    return [entry.object_name for entry in minio.list_objects(bucket_name=BUCKET, **more)]


@check
def a_bucket_is_made_and_found():
    assert not minio.bucket_exists(bucket_name=BUCKET)
    minio.make_bucket(bucket_name=BUCKET)
    assert minio.bucket_exists(bucket_name=BUCKET)
    assert BUCKET in [bucket.name for bucket in minio.list_buckets()]


@check
def an_object_comes_back_with_its_metadata():
    body = os.urandom(70_000)
    put("folder/object", body, content_type="text/x-test", metadata={"colour": "blue"})
    assert read("folder/object") == body
    stat = minio.stat_object(bucket_name=BUCKET, object_name="folder/object")
    assert (stat.size, stat.content_type) == (70_000, "text/x-test")
    assert stat.metadata["x-amz-meta-colour"] == "blue"


@check
def a_range_is_the_range():
    assert read("folder/object", offset=100, length=50) == read("folder/object")[100:150]


@check
def an_empty_object_is_one():
    put("empty", b"")
    assert read("empty") == b""


@check
def a_body_of_unknown_length_goes_in_parts():
    body = os.urandom(11 << 20)
    minio.put_object(
        bucket_name=BUCKET, object_name="parts", data=io.BytesIO(body), length=-1, part_size=5 << 20
    )
    assert read("parts") == body


@check
def odd_keys_are_kept_as_they_are():
    for key in ["a b+c%20d", "année/日本 €.txt", "q?x=1&y#z", "quotes'\"<&>"]:
        put(key, key.encode())
        assert read(key).decode() == key


@check
def a_list_has_every_key_once():
    assert sorted(keys(recursive=True)) == sorted(set(keys(recursive=True)))
    assert "année/日本 €.txt" in keys(recursive=True)
    assert "folder/" in keys() and "folder/object" not in keys()
    assert keys(prefix="folder/") == ["folder/object"]


@check
def a_copy_can_keep_or_replace_metadata():
    source = CopySource(bucket_name=BUCKET, object_name="folder/object")
    minio.copy_object(bucket_name=BUCKET, object_name="copy", source=source)
    assert read("copy") == read("folder/object")
    minio.copy_object(
        bucket_name=BUCKET,
        object_name="copy",
        source=source,
        metadata_directive=REPLACE,
        metadata={"colour": "red"},
    )
    stat = minio.stat_object(bucket_name=BUCKET, object_name="copy")
    assert stat.metadata["x-amz-meta-colour"] == "red"


@check
def objects_are_composed_on_the_server():
    sources = [ComposeSource(bucket_name=BUCKET, object_name=key) for key in ("parts", "folder/object")]
    minio.compose_object(bucket_name=BUCKET, object_name="composed", sources=sources)
    assert read("composed") == read("parts") + read("folder/object")


@check
def presigned_urls_read_and_write():
    url = minio.presigned_put_object(bucket_name=BUCKET, object_name="url", expires=timedelta(minutes=1))
    urllib.request.urlopen(urllib.request.Request(url, data=b"by URL", method="PUT")).close()
    url = minio.presigned_get_object(bucket_name=BUCKET, object_name="url", expires=timedelta(minutes=1))
    with urllib.request.urlopen(url) as answer:
        assert answer.read() == b"by URL"


@check
def what_is_not_there_has_the_error_of_s3():
    fails("NoSuchKey", read, "nothing")
    fails("NoSuchBucket", minio.get_object, bucket_name="compat-nowhere", object_name="nothing")
    fails("BucketNotEmpty", minio.remove_bucket, bucket_name=BUCKET)


@check
def many_are_removed_at_once_and_then_the_bucket():
    listed = [DeleteObject(key) for key in keys(recursive=True)]
    errors = list(minio.remove_objects(bucket_name=BUCKET, delete_object_list=listed))
    assert not errors, errors
    assert keys(recursive=True) == []
    minio.remove_bucket(bucket_name=BUCKET)


if __name__ == "__main__":
    run_all()

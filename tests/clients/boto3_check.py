#!/usr/bin/env python3
"""boto3 against a running gateway. Run by `run`: `boto3_check.py plain` or `boto3_check.py tls`.

Prints one line a check; ends with status 0 when all were made, whatever came out.
"""

import base64
import configparser
import hashlib
import io
import os
import socket
import ssl
import subprocess
import sys
import time
import traceback
import urllib.error
import urllib.request
import zlib
from urllib.parse import urlsplit

import boto3
import requests
from awscrt import checksums as crt
from boto3.s3.transfer import TransferConfig
from botocore.config import Config
from botocore.exceptions import ClientError, IncompleteReadError, ReadTimeoutError

ENDPOINT = os.environ["ENDPOINT"]
DOMAIN = "s3.example.test"
BUCKET = "clients-boto3"
CHECKSUMS = {
    "CRC32": lambda body: zlib.crc32(body).to_bytes(4, "big"),
    "CRC32C": lambda body: crt.crc32c(body).to_bytes(4, "big"),
    "CRC64NVME": lambda body: crt.crc64nvme(body).to_bytes(8, "big"),
    "SHA1": lambda body: hashlib.sha1(body).digest(),
    "SHA256": lambda body: hashlib.sha256(body).digest(),
}
CHECKS = {"plain": [], "tls": []}


def check(mode):
    def keep(function):
        CHECKS[mode].append(function)
        return function

    return keep


def client(style="path", endpoint=None, key=None, secret=None, region="us-east-1", **config):
    if key is None:
        key, secret = credentials()
    config.setdefault("retries", {"max_attempts": 0})
    return boto3.client(
        "s3",
        endpoint_url=endpoint or ENDPOINT,
        region_name=region,
        aws_access_key_id=key,
        aws_secret_access_key=secret,
        verify=os.environ.get("CA"),
        config=Config(signature_version="s3v4", s3={"addressing_style": style}, **config),
    )


def credentials():
    if "CA" in os.environ:
        return "WRITER", "a secret of the writer's"
    parser = configparser.ConfigParser()
    parser.read(os.path.join(os.environ["WORK"], "data", "credentials"))
    return parser["default"]["aws_access_key_id"], parser["default"]["aws_secret_access_key"]


def refused(code, call, **arguments):
    """The call fails with this error code; returns the whole answer."""
    try:
        call(**arguments)
    except ClientError as error:
        got = error.response["Error"]["Code"]
        assert got == code, f"{got} instead of {code}: {error}"
        return error.response
    raise AssertionError(f"the call succeeded; {code} was expected")


def read(s3, key, bucket=BUCKET, **more):
    return s3.get_object(Bucket=bucket, Key=key, **more)["Body"].read()


def url_tools():
    context = ssl.create_default_context(cafile=os.environ.get("CA")) if "CA" in os.environ else None
    return urllib.request.build_opener(
        urllib.request.ProxyHandler({}), *([urllib.request.HTTPSHandler(context=context)] if context else [])
    )


def http(method, url, body=None, headers=None):
    """Status, headers and body, whatever the status."""
    request = urllib.request.Request(url, data=body, method=method, headers=headers or {})
    try:
        with url_tools().open(request, timeout=60) as response:
            return response.status, response.headers, response.read()
    except urllib.error.HTTPError as error:
        return error.code, error.headers, error.read()


def shared_checks(function):
    CHECKS["plain"].append(function)
    CHECKS["tls"].append(function)
    return function


@shared_checks
def default_checksums_and_a_receipt(s3):
    put = s3.put_object(Bucket=BUCKET, Key="default", Body=b"by default")
    assert put["ETag"] == '"%s"' % hashlib.md5(b"by default").hexdigest(), put
    headers = put["ResponseMetadata"]["HTTPHeaders"]
    for name in ("x-domicile-location", "x-domicile-labels", "x-domicile-receipt", "x-amz-request-id"):
        assert headers.get(name), (name, headers)
    got = s3.get_object(Bucket=BUCKET, Key="default")
    assert got["Body"].read() == b"by default"
    assert got["ResponseMetadata"]["HTTPHeaders"]["x-domicile-location"] == headers["x-domicile-location"]


@shared_checks
def every_checksum_algorithm(s3):
    body = os.urandom(300_000)
    for name, compute in CHECKSUMS.items():
        expected = base64.b64encode(compute(body)).decode()
        put = s3.put_object(Bucket=BUCKET, Key=f"sum-{name}", Body=body, ChecksumAlgorithm=name)
        assert put[f"Checksum{name}"] == expected, (name, put)
        got = s3.get_object(Bucket=BUCKET, Key=f"sum-{name}", ChecksumMode="ENABLED")
        assert got[f"Checksum{name}"] == expected and got["Body"].read() == body, name
        head = s3.head_object(Bucket=BUCKET, Key=f"sum-{name}", ChecksumMode="ENABLED")
        assert head[f"Checksum{name}"] == expected, (name, head)


@shared_checks
def a_checksum_that_does_not_fit_stores_nothing(s3):
    for name in CHECKSUMS:
        wrong = {f"Checksum{name}": base64.b64encode(CHECKSUMS[name](b"other")).decode()}
        refused("BadDigest", s3.put_object, Bucket=BUCKET, Key="sum-bad", Body=b"this", **wrong)
    md5 = base64.b64encode(hashlib.md5(b"other").digest()).decode()
    refused("BadDigest", s3.put_object, Bucket=BUCKET, Key="sum-bad", Body=b"this", ContentMD5=md5)
    refused("404", s3.head_object, Bucket=BUCKET, Key="sum-bad")


@shared_checks
def a_body_that_cannot_be_rewound(s3):
    body = os.urandom(200_000)

    class Pipe(io.RawIOBase):
        """Readable, not seekable, of known length."""

        def __init__(self):
            self.inner = io.BytesIO(body)

        def readable(self):
            return True

        def read(self, size=-1):
            return self.inner.read(size)

    if ENDPOINT.startswith("https"):
        s3.put_object(Bucket=BUCKET, Key="pipe", Body=Pipe(), ContentLength=len(body))
        assert read(s3, "pipe") == body
    else:
        s3.upload_fileobj(Pipe(), BUCKET, "pipe")
        assert read(s3, "pipe") == body


@shared_checks
def empty_bodies(s3):
    for name in CHECKSUMS:
        s3.put_object(Bucket=BUCKET, Key=f"empty-{name}", Body=b"", ChecksumAlgorithm=name)
        assert s3.get_object(Bucket=BUCKET, Key=f"empty-{name}")["ContentLength"] == 0
    s3.put_object(Bucket=BUCKET, Key="empty")
    assert read(s3, "empty") == b""


@shared_checks
def presigned_get_and_put(s3):
    put = s3.generate_presigned_url("put_object", Params={"Bucket": BUCKET, "Key": "pre signed/+ü"}, ExpiresIn=60)
    status, headers, answer = http("PUT", put, b"by url", {"Content-Type": ""})
    assert status == 200, (status, answer)
    get = s3.generate_presigned_url(
        "get_object",
        Params={"Bucket": BUCKET, "Key": "pre signed/+ü", "ResponseContentType": "text/x-own"},
        ExpiresIn=60,
    )
    status, headers, answer = http("GET", get)
    assert (status, answer, headers["Content-Type"]) == (200, b"by url", "text/x-own"), (status, answer)
    status, headers, answer = http("GET", get.replace("x-own", "x-other"))
    assert status == 403 and b"<Code>SignatureDoesNotMatch</Code>" in answer, (status, answer)
    # A header that nobody signed must not take effect.
    status, headers, answer = http("PUT", put, b"sneaked", {"Content-Type": "", "x-amz-tagging": "data-class=personal"})
    assert status == 403 and b"<Code>AccessDenied</Code>" in answer, (status, answer)
    assert read(s3, "pre signed/+ü") == b"by url"
    signed = s3.generate_presigned_url(
        "put_object", Params={"Bucket": BUCKET, "Key": "tagged", "Tagging": "data-class=personal&subject-country=CN"}
    )
    status, headers, answer = http(
        "PUT", signed, b"x", {"Content-Type": "", "x-amz-tagging": "data-class=personal&subject-country=CN"}
    )
    assert status == 200 and headers["x-domicile-location"] == "cn-north", (status, answer)


@shared_checks
def an_expired_url(s3):
    late = s3.generate_presigned_url("get_object", Params={"Bucket": BUCKET, "Key": "default"}, ExpiresIn=1)
    deadline = time.monotonic() + 60
    while time.monotonic() < deadline:
        status, headers, answer = http("GET", late)
        if status != 200:
            break
        time.sleep(0.2)
    assert status == 403 and b"<Code>AccessDenied</Code>" in answer and b"xpired" in answer, (status, answer)


@shared_checks
def thirty_mebibytes_in_parts(s3):
    body = os.urandom(30 << 20)
    config = TransferConfig(multipart_threshold=8 << 20, multipart_chunksize=7 << 20, max_concurrency=4)
    s3.upload_fileobj(io.BytesIO(body), BUCKET, "big", Config=config)
    into = io.BytesIO()
    s3.download_fileobj(BUCKET, "big", into, Config=config)
    assert into.getvalue() == body
    head = s3.head_object(Bucket=BUCKET, Key="big")
    assert head["ContentLength"] == len(body) and head["ETag"].endswith('-5"'), head
    assert read(s3, "big", Range="bytes=7340030-7340040") == body[7340030:7340041]


@shared_checks
def parts_are_read_by_number_and_attributes_told(s3):
    part = s3.get_object(Bucket=BUCKET, Key="big", PartNumber=2)
    assert part["PartsCount"] == 5 and part["ContentRange"].startswith("bytes "), part
    assert s3.head_object(Bucket=BUCKET, Key="big", PartNumber=1)["PartsCount"] == 5
    refused("InvalidPartNumber", s3.get_object, Bucket=BUCKET, Key="big", PartNumber=6)
    told = s3.get_object_attributes(Bucket=BUCKET, Key="big", ObjectAttributes=["ObjectSize", "ObjectParts", "ETag"])
    assert told["ObjectSize"] == s3.head_object(Bucket=BUCKET, Key="big")["ContentLength"]
    assert told["ObjectParts"]["TotalPartsCount"] == 5 and told["ETag"].endswith("-5"), told


@shared_checks
def parts_with_every_checksum_algorithm(s3):
    first, last = os.urandom(5 << 20), os.urandom(1000)
    for name, compute in CHECKSUMS.items():
        key = f"parts-{name}"
        upload = s3.create_multipart_upload(Bucket=BUCKET, Key=key, ChecksumAlgorithm=name)["UploadId"]
        parts = []
        for number, body in enumerate((first, last), 1):
            part = s3.upload_part(
                Bucket=BUCKET, Key=key, UploadId=upload, PartNumber=number, Body=body, ChecksumAlgorithm=name
            )
            expected = base64.b64encode(compute(body)).decode()
            assert part[f"Checksum{name}"] == expected, (name, part)
            parts.append({"PartNumber": number, "ETag": part["ETag"], f"Checksum{name}": expected})
        done = s3.complete_multipart_upload(
            Bucket=BUCKET, Key=key, UploadId=upload, MultipartUpload={"Parts": parts}
        )
        assert done[f"Checksum{name}"], (name, done)
        assert done["Bucket"] == BUCKET and done["Key"] == key, done
        assert read(s3, key) == first + last, name
    refused("NoSuchUpload", s3.abort_multipart_upload, Bucket=BUCKET, Key="parts-CRC32", UploadId=upload)


@shared_checks
def conditional_writes_and_reads(s3):
    s3.delete_object(Bucket=BUCKET, Key="once")
    tag = s3.put_object(Bucket=BUCKET, Key="once", Body=b"1", IfNoneMatch="*")["ETag"]
    refused("PreconditionFailed", s3.put_object, Bucket=BUCKET, Key="once", Body=b"2", IfNoneMatch="*")
    refused("PreconditionFailed", s3.put_object, Bucket=BUCKET, Key="once", Body=b"2", IfMatch='"00"')
    assert read(s3, "once") == b"1"
    again = s3.put_object(Bucket=BUCKET, Key="once", Body=b"3", IfMatch=tag)["ETag"]
    assert read(s3, "once", IfMatch=again) == b"3"
    refused("304", s3.get_object, Bucket=BUCKET, Key="once", IfNoneMatch=again)
    refused("PreconditionFailed", s3.get_object, Bucket=BUCKET, Key="once", IfMatch=tag)
    refused("NoSuchKey", s3.put_object, Bucket=BUCKET, Key="never", Body=b"", IfMatch=tag)


@shared_checks
def an_overwrite_that_moves_the_object_to_another_country(s3):
    s3.put_object(Bucket=BUCKET, Key="moves", Body=b"plain", Tagging="data-class=non_personal")
    for country, location in (("CN", "cn-north"), ("US", None), ("CN", "cn-north")):
        tags = f"data-class=personal.health&subject-country={country}"
        put = s3.put_object(Bucket=BUCKET, Key="moves", Body=country.encode(), Tagging=tags)
        assert location in (None, put["ResponseMetadata"]["HTTPHeaders"]["x-domicile-location"]), put
        assert read(s3, "moves") == country.encode()
    listed = s3.list_objects_v2(Bucket=BUCKET, Prefix="moves")["Contents"]
    assert [entry["Size"] for entry in listed] == [2], listed


@shared_checks
def error_codes(s3):
    refused("NoSuchKey", s3.get_object, Bucket=BUCKET, Key="nothing")
    refused("404", s3.head_object, Bucket=BUCKET, Key="nothing")
    refused("NoSuchBucket", s3.get_object, Bucket="clients-nowhere", Key="nothing")
    refused("NoSuchBucket", s3.list_objects_v2, Bucket="clients-nowhere")
    refused("NoSuchBucket", s3.put_object, Bucket="clients-nowhere", Key="k", Body=b"x" * 300_000)
    s3.create_bucket(Bucket=BUCKET)  # S3's own exception for us-east-1.
    refused("BucketAlreadyOwnedByYou", client(region="eu-central-1").create_bucket, Bucket=BUCKET)
    refused("BucketNotEmpty", s3.delete_bucket, Bucket=BUCKET)
    refused("InvalidRange", s3.get_object, Bucket=BUCKET, Key="default", Range="bytes=100-")
    refused("NotImplemented", s3.put_object_acl, Bucket=BUCKET, Key="default", ACL="public-read")
    refused("NoSuchUpload", s3.list_parts, Bucket=BUCKET, Key="default", UploadId="nonsense")
    refused("InvalidArgument", s3.list_objects_v2, Bucket=BUCKET, ContinuationToken="nonsense")
    refused("InvalidBucketName", client().list_objects_v2, Bucket="No_Bucket")
    refused("KeyTooLongError", s3.put_object, Bucket=BUCKET, Key="k" * 1025, Body=b"x")
    try:
        s3.get_object(Bucket=BUCKET, Key="nothing")
    except s3.exceptions.NoSuchKey:
        pass
    assert s3.delete_object(Bucket=BUCKET, Key="nothing")["ResponseMetadata"]["HTTPStatusCode"] == 204


@shared_checks
def a_refusal_names_its_rule(s3):
    answer = refused(
        "AccessDenied",
        s3.put_object,
        Bucket=BUCKET,
        Key="refused",
        Body=b"x" * 2_000_000,
        Tagging="data-class=personal&subject-country=RU",
    )
    rule = answer["ResponseMetadata"]["HTTPHeaders"]["x-domicile-rule"]
    assert rule and rule in answer["Error"]["Message"], answer
    refused("404", s3.head_object, Bucket=BUCKET, Key="refused")
    # The connection, and the client, go on.
    assert read(s3, "default") == b"by default"


@shared_checks
def content_decides_where_it_goes(s3):
    # A valid resident identity number with its word beside it; the check digit is that of GB 11643.
    body = ("patient 身份证号码: 11010519491231002X\n" * 20).encode()
    put = s3.put_object(Bucket=BUCKET, Key="found", Body=body)
    headers = put["ResponseMetadata"]["HTTPHeaders"]
    assert headers["x-domicile-location"] == "cn-north", headers
    assert "personal.gov_id" in headers["x-domicile-labels"], headers
    assert read(s3, "found") == body


@shared_checks
def wrong_credentials(s3):
    key, secret = credentials()
    refused("SignatureDoesNotMatch", client(key=key, secret="wrong").list_buckets)
    refused("InvalidAccessKeyId", client(key="NOBODY", secret=secret).list_buckets)
    refused("AuthorizationHeaderMalformed", client(region="mars-1").list_buckets)
    assert any(bucket["Name"] == BUCKET for bucket in client(region="eu-central-1").list_buckets()["Buckets"])


@shared_checks
def paginators(s3):
    for number in range(23):
        tags = "data-class=personal&subject-country=CN" if number % 2 else "data-class=non_personal"
        s3.put_object(Bucket=BUCKET, Key=f"page/{number:02}/é +", Body=b"x", Tagging=tags)
    expected = [f"page/{number:02}/é +" for number in range(23)]
    for name in ("list_objects", "list_objects_v2"):
        pages = list(s3.get_paginator(name).paginate(Bucket=BUCKET, Prefix="page/", PaginationConfig={"PageSize": 4}))
        assert [entry["Key"] for page in pages for entry in page.get("Contents", [])] == expected, name
        assert len(pages) == 6, (name, len(pages))
        pages = s3.get_paginator(name).paginate(
            Bucket=BUCKET, Prefix="page/", Delimiter="/", PaginationConfig={"PageSize": 5}
        )
        prefixes = [entry["Prefix"] for page in pages for entry in page.get("CommonPrefixes", [])]
        assert prefixes == [f"page/{number:02}/" for number in range(23)], (name, prefixes)
    after = s3.list_objects_v2(Bucket=BUCKET, Prefix="page/", StartAfter="page/20/é +")
    assert [entry["Key"] for entry in after["Contents"]] == expected[21:], after


@shared_checks
def uploads_are_listed_page_by_page_each_once(s3):
    """Several keys in two countries, one of them with more uploads than a page has."""
    begun = set()
    for number in [0, 1, 2, 2, 2, 2, 2, 3, 4]:
        tags = "data-class=personal&subject-country=CN" if number % 2 else "data-class=non_personal"
        key = f"up/{number}"
        begun.add((key, s3.create_multipart_upload(Bucket=BUCKET, Key=key, Tagging=tags)["UploadId"]))
    for size in (1, 2, 4, 100):
        pages = s3.get_paginator("list_multipart_uploads").paginate(
            Bucket=BUCKET, Prefix="up/", PaginationConfig={"PageSize": size}
        )
        listed = [(upload["Key"], upload["UploadId"]) for page in pages for upload in page.get("Uploads", [])]
        assert len(listed) == len(begun) and set(listed) == begun, (size, listed)
        assert [key for key, _ in listed] == sorted(key for key, _ in begun), (size, listed)
    for key, upload in begun:
        s3.abort_multipart_upload(Bucket=BUCKET, Key=key, UploadId=upload)
        refused("NoSuchUpload", s3.list_parts, Bucket=BUCKET, Key=key, UploadId=upload)


@shared_checks
def copies(s3):
    s3.put_object(
        Bucket=BUCKET, Key="from/é +", Body=b"copy me", Metadata={"note": "kept"}, ContentType="text/x-own",
        Tagging="data-class=personal&subject-country=CN",
    )
    s3.copy({"Bucket": BUCKET, "Key": "from/é +"}, BUCKET, "to")
    head = s3.head_object(Bucket=BUCKET, Key="to")
    assert head["Metadata"] == {"note": "kept"} and head["ContentType"] == "text/x-own", head
    assert head["ResponseMetadata"]["HTTPHeaders"]["x-domicile-location"] == "cn-north", head
    refused(
        "PreconditionFailed", s3.copy_object, Bucket=BUCKET, Key="to", CopySource={"Bucket": BUCKET, "Key": "from/é +"},
        CopySourceIfMatch='"00"',
    )


@shared_checks
def delete_many(s3):
    keys = [entry["Key"] for entry in s3.list_objects_v2(Bucket=BUCKET, Prefix="page/")["Contents"]]
    gone = s3.delete_objects(Bucket=BUCKET, Delete={"Objects": [{"Key": key} for key in keys]})
    assert sorted(entry["Key"] for entry in gone["Deleted"]) == keys and not gone.get("Errors"), gone
    assert s3.list_objects_v2(Bucket=BUCKET, Prefix="page/")["KeyCount"] == 0
    quiet = s3.delete_objects(Bucket=BUCKET, Delete={"Objects": [{"Key": "nothing"}], "Quiet": True})
    assert not quiet.get("Deleted") and not quiet.get("Errors"), quiet


@check("tls")
def trailers_over_tls(s3):
    """Over TLS boto3 sends `STREAMING-UNSIGNED-PAYLOAD-TRAILER`; see that it did."""
    sent = []
    s3.meta.events.register("before-send.s3.*", lambda request, **_: sent.append(request.headers))
    for name in CHECKSUMS:
        body = io.BytesIO(os.urandom(3 << 20))
        s3.put_object(Bucket=BUCKET, Key="trailer", Body=body, ChecksumAlgorithm=name)
        assert sent[-1]["X-Amz-Content-SHA256"] == b"STREAMING-UNSIGNED-PAYLOAD-TRAILER", sent[-1]
        assert sent[-1]["X-Amz-Trailer"].decode() == f"x-amz-checksum-{name.lower()}", sent[-1]
        assert read(s3, "trailer") == body.getvalue()


@check("tls")
def the_certificate_is_checked(s3):
    key, secret = credentials()
    stranger = boto3.client(
        "s3", endpoint_url=ENDPOINT, region_name="us-east-1", aws_access_key_id=key, aws_secret_access_key=secret,
        config=Config(retries={"max_attempts": 0}),
    )
    try:
        stranger.list_buckets()
    except Exception as error:
        assert "CERTIFICATE_VERIFY_FAILED" in str(error), error
    else:
        raise AssertionError("a certificate of an unknown authority was accepted")


@check("tls")
def virtual_host_style(s3):
    """`bucket.s3.example.test` is found on loopback by a resolver of this process's own."""
    port = urlsplit(ENDPOINT).port
    resolve = socket.getaddrinfo
    asked = []

    def own(host, *rest, **more):
        name = host.decode() if isinstance(host, bytes) else host
        if name.endswith(DOMAIN):
            asked.append(name)
            host = "127.0.0.1"
        return resolve(host, *rest, **more)

    socket.getaddrinfo = own
    try:
        virtual = client(style="virtual", endpoint=f"https://{DOMAIN}:{port}")
        virtual.create_bucket(Bucket="clients-virtual")
        virtual.put_object(Bucket="clients-virtual", Key="a/b c+ü", Body=b"virtual")
        assert read(virtual, "a/b c+ü", bucket="clients-virtual") == b"virtual"
        assert read(s3, "a/b c+ü", bucket="clients-virtual") == b"virtual"
        assert [entry["Key"] for entry in virtual.list_objects_v2(Bucket="clients-virtual")["Contents"]] == ["a/b c+ü"]
        url = virtual.generate_presigned_url("get_object", Params={"Bucket": "clients-virtual", "Key": "a/b c+ü"})
        assert url.startswith(f"https://clients-virtual.{DOMAIN}:{port}/a/b"), url
        assert http("GET", url)[2] == b"virtual"
        virtual.upload_fileobj(io.BytesIO(b"y" * (9 << 20)), "clients-virtual", "big")
        virtual.copy({"Bucket": "clients-virtual", "Key": "big"}, "clients-virtual", "copy")
        assert virtual.head_object(Bucket="clients-virtual", Key="copy")["ContentLength"] == 9 << 20
        many = [{"Key": key} for key in ("a/b c+ü", "big", "copy")]
        assert len(virtual.delete_objects(Bucket="clients-virtual", Delete={"Objects": many})["Deleted"]) == 3
        virtual.delete_bucket(Bucket="clients-virtual")
        assert any(name.startswith("clients-virtual.") for name in asked), asked
    finally:
        socket.getaddrinfo = resolve


@check("tls")
def apps_keep_to_their_buckets_and_to_reading(s3):
    reader = client(key="READER", secret="a secret of the reader's")
    s3.create_bucket(Bucket="shared-report", CreateBucketConfiguration={"LocationConstraint": "eu-central-1"})
    s3.put_object(Bucket="shared-report", Key="r", Body=b"for all")
    assert read(reader, "r", bucket="shared-report") == b"for all"
    refused("AccessDenied", reader.put_object, Bucket="shared-report", Key="r", Body=b"mine")
    refused("AccessDenied", reader.delete_objects, Bucket="shared-report", Delete={"Objects": [{"Key": "r"}]})
    refused("AccessDenied", reader.get_object, Bucket=BUCKET, Key="default")
    assert [bucket["Name"] for bucket in reader.list_buckets()["Buckets"]] == ["shared-report"]
    refused(
        "AccessDenied", reader.copy_object, Bucket="shared-report", Key="c", CopySource={"Bucket": BUCKET, "Key": "default"}
    )


@check("tls")
def an_upload_that_stalls_leaves_no_object(s3):
    """Half a body, and then silence, on a connection of its own: the gateway gives up on it, not the test."""
    url = s3.generate_presigned_url("put_object", Params={"Bucket": BUCKET, "Key": "stalled"}, ExpiresIn=60)
    parts = urlsplit(url)
    context = ssl.create_default_context(cafile=os.environ["CA"])
    with socket.create_connection((parts.hostname, parts.port), timeout=60) as plain:
        with context.wrap_socket(plain, server_hostname=parts.hostname) as stream:
            head = f"PUT {parts.path}?{parts.query} HTTP/1.1\r\nHost: {parts.netloc}\r\nContent-Length: 1000\r\n\r\n"
            stream.sendall(head.encode() + b"x" * 500)
            answer = b""
            try:
                while piece := stream.recv(65536):
                    answer += piece
            except (ConnectionError, ssl.SSLError):
                pass
    assert answer == b"" or answer.startswith(b"HTTP/1.1 4"), answer
    refused("404", s3.head_object, Bucket=BUCKET, Key="stalled")


@check("tls")
def a_reader_that_stalls_hurts_nobody_else(s3):
    """A download that is not read is cut off by the idle timeout; a short read timeout of the client is the client's."""
    body = os.urandom(24 << 20)
    s3.put_object(Bucket=BUCKET, Key="slow", Body=body)
    slow = client(read_timeout=5)
    stream = slow.get_object(Bucket=BUCKET, Key="slow")["Body"]
    begun = stream.read(1000)
    for _ in range(20):
        assert read(s3, "default") == b"by default"
    try:
        # What the sockets had buffered still comes; how the rest ends depends on how quick this machine was.
        assert body.startswith(begun + stream.read())
    except (IncompleteReadError, ReadTimeoutError, ConnectionError):
        pass
    assert read(slow, "slow") == body


@check("tls")
def http2_from_curl(s3):
    url = s3.generate_presigned_url("get_object", Params={"Bucket": BUCKET, "Key": "default"}, ExpiresIn=60)
    for version, spoken in (("--http2", "2"), ("--http1.1", "1.1")):
        command = ["curl", "-sS", version, "--cacert", os.environ["CA"], "-w", " %{http_version}", url]
        assert subprocess.check_output(command).decode() == f"by default {spoken}", version


@check("plain")
def presigned_post(s3):
    form = s3.generate_presigned_post(
        BUCKET,
        "forms/${filename}",
        Fields={"success_action_status": "201", "x-amz-meta-ward": "3 b"},
        Conditions=[
            {"success_action_status": "201"},
            {"x-amz-meta-ward": "3 b"},
            ["content-length-range", 1, 4 << 20],
        ],
        ExpiresIn=60,
    )
    for body in (b"by form", os.urandom(3 << 20)):
        answer = requests.post(form["url"], data=form["fields"], files={"file": ("a scan.txt", body)}, timeout=60)
        assert answer.status_code == 201, answer.text
        assert "<Key>forms/a scan.txt</Key>" in answer.text
        assert read(s3, "forms/a scan.txt") == body
        assert s3.head_object(Bucket=BUCKET, Key="forms/a scan.txt")["Metadata"] == {"ward": "3 b"}
    refused = requests.post(form["url"], data=form["fields"], files={"file": ("b", b"x" * (5 << 20))}, timeout=60)
    assert refused.status_code == 400 and "EntityTooLarge" in refused.text, refused.text
    changed = dict(form["fields"], key="elsewhere")
    refused = requests.post(form["url"], data=changed, files={"file": ("b", b"x")}, timeout=60)
    assert refused.status_code == 403, refused.text


@check("plain")
def tags_after_a_write(s3):
    s3.put_object(Bucket=BUCKET, Key="tagged", Body=b"text")
    tags = [
        {"Key": "data-class", "Value": "personal"},
        {"Key": "subject-country", "Value": "US"},
        {"Key": "ward", "Value": "3 b"},
    ]
    s3.put_object_tagging(Bucket=BUCKET, Key="tagged", Tagging={"TagSet": tags})
    kept = s3.get_object_tagging(Bucket=BUCKET, Key="tagged")["TagSet"]
    assert sorted(kept, key=lambda tag: tag["Key"]) == tags
    s3.delete_object_tagging(Bucket=BUCKET, Key="tagged")
    assert s3.get_object_tagging(Bucket=BUCKET, Key="tagged")["TagSet"] == []


def main():
    mode = sys.argv[1]
    s3 = client()
    s3.create_bucket(Bucket=BUCKET)
    for function in CHECKS[mode]:
        name = function.__name__.replace("_", " ")
        try:
            function(s3)
        except Exception:
            print(f"FAIL  {name}")
            for line in traceback.format_exc().splitlines():
                print(f"      | {line}")
        else:
            print(f"ok    {name}", flush=True)
    return 0


if __name__ == "__main__":
    sys.exit(main())

"""A plugin for pytest: Ceph's s3-tests with two things of theirs said in today's words, so that the rest of a test is seen.

Forms that are signed by version 2 are signed by version 4, well where they were signed well and wrongly where wrongly; and
canned lists that make a bucket or an object public are left out. A test that is about either cannot pass so; one that only
uses them on its way can. Loaded by s3_tests.sh for the tests that s3_tests_expected.toml names under `adapted`.
"""

import base64
import binascii
import datetime
import hashlib
import hmac
import json
import os
from collections import OrderedDict

import botocore.client
import requests

REGION = os.environ["S3_TESTS_REGION"]
# The keys of the suite's own configuration.
SECRETS = {"0555b35654ad1656d804": "h7GhxuBLTrlhVUyxSPUKUV8r/2EI4ngqJxD7iBdBYLhwluN30JaT3Q=="}


def mac(key, text):
    return hmac.new(key, text, hashlib.sha256).digest()


def signed_again(fields):
    """The fields of a form, signed by version 4 instead of 2."""
    known = {name.lower(): name for name in fields}
    access_key = fields[known["awsaccesskeyid"]]
    now = datetime.datetime.now(datetime.timezone.utc)
    scope = f"{now:%Y%m%d}/{REGION}/s3/aws4_request"
    own = OrderedDict(
        [
            ("x-amz-algorithm", "AWS4-HMAC-SHA256"),
            ("x-amz-credential", f"{access_key}/{scope}"),
            ("x-amz-date", f"{now:%Y%m%dT%H%M%SZ}"),
        ]
    )
    policy = fields.get(known.get("policy"))
    secret = next((secret for key, secret in SECRETS.items() if access_key.startswith(key)), "").encode()
    signature = None
    if policy is not None:
        plain = policy if isinstance(policy, bytes) else policy.encode()
        was_right = base64.b64encode(hmac.new(secret, plain, hashlib.sha1).digest())
        given = fields.get(known.get("signature"))
        is_right = given in (was_right, was_right.decode())
        policy = with_conditions(plain, own)
        key = b"AWS4" + secret
        for part in scope.split("/"):
            key = mac(key, part.encode())
        signature = mac(key, policy).hex()
        if not is_right:
            signature = signature[::-1]
    again = OrderedDict()
    for name, value in fields.items():
        match name.lower():
            case "awsaccesskeyid":
                again.update(own)
            case "signature":
                again["x-amz-signature"] = signature
            case "policy":
                again[name] = policy
            case _:
                again[name] = value
    return again


def with_conditions(policy, own):
    """A policy has to name the fields that sign. One that cannot be read stays as it is."""
    try:
        document = json.loads(base64.b64decode(policy))
        document["conditions"] += [{name: value} for name, value in own.items()]
    except (binascii.Error, ValueError, KeyError, TypeError):
        return policy
    return base64.b64encode(json.dumps(document).encode())


def install():
    post, call = requests.post, botocore.client.BaseClient._make_api_call

    def post_form(url, *arguments, files=None, **more):
        if files and any(name.lower() == "awsaccesskeyid" for name in files):
            files = signed_again(files)
        return post(url, *arguments, files=files, **more)

    def make_api_call(client, operation, parameters):
        if str(parameters.get("ACL", "")).startswith("public-"):
            parameters = {**parameters, "ACL": "private"}
        return call(client, operation, parameters)

    requests.post = post_form
    botocore.client.BaseClient._make_api_call = make_api_call


install()

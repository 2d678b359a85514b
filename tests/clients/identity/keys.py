#!/usr/bin/env python3
"""Makes an access key with the openstack command and signs with it through boto3 and the aws command.

    tests/clients/identity/keys.py

Takes OS_* of an administrator and AWS_ENDPOINT_URL, as ./dev exports them. What it makes it deletes. Ends with 0 when
all held.
"""

import json
import os
import subprocess
import sys
import uuid

import boto3
import botocore.config
import botocore.exceptions

SUFFIX = uuid.uuid4().hex[:8]
BUCKET = f"keys-{SUFFIX}"


def openstack(*words, env=None):
    done = subprocess.run(["openstack", *words], capture_output=True, text=True, env={**os.environ, **(env or {})})
    assert done.returncode == 0, f"openstack {' '.join(words)}: {done.stderr}"
    return json.loads(done.stdout) if "json" in words else done.stdout


def s3(key, version):
    config = botocore.config.Config(signature_version=version, s3={"addressing_style": "path"}, retries={"max_attempts": 1})
    return boto3.client("s3", endpoint_url=os.environ["AWS_ENDPOINT_URL"], config=config, aws_access_key_id=key["access"],
                        aws_secret_access_key=key["secret"])


def aws(key, *words):
    env = {**os.environ, "AWS_ACCESS_KEY_ID": key["access"], "AWS_SECRET_ACCESS_KEY": key["secret"]}
    return subprocess.run(["aws", *words], capture_output=True, text=True, env=env)


def refusal(call):
    try:
        call()
    except botocore.exceptions.ClientError as error:
        return error.response["Error"]["Code"]
    return None


def main():
    person = {"OS_USERNAME": f"keys-{SUFFIX}", "OS_PASSWORD": "pass word", "OS_PROJECT_NAME": f"keys-{SUFFIX}",
              "OS_USER_DOMAIN_NAME": "Default", "OS_PROJECT_DOMAIN_NAME": "Default"}
    openstack("project", "create", person["OS_PROJECT_NAME"])
    openstack("user", "create", person["OS_USERNAME"], "--password", person["OS_PASSWORD"])
    openstack("role", "add", "--user", person["OS_USERNAME"], "--project", person["OS_PROJECT_NAME"], "member")
    key = openstack("ec2", "credentials", "create", "-f", "json", env=person)
    s3(key, "s3v4").create_bucket(Bucket=BUCKET)
    for version in "s3v4", "s3":
        client = s3(key, version)
        client.put_object(Bucket=BUCKET, Key="object", Body=b"content")
        assert client.get_object(Bucket=BUCKET, Key="object")["Body"].read() == b"content"
        assert BUCKET in [bucket["Name"] for bucket in client.list_buckets()["Buckets"]]
    listed = aws(key, "s3", "ls", f"s3://{BUCKET}")
    assert listed.returncode == 0 and "object" in listed.stdout, listed.stderr
    administrator = boto3.client("s3", endpoint_url=os.environ["AWS_ENDPOINT_URL"])
    assert BUCKET not in [bucket["Name"] for bucket in administrator.list_buckets()["Buckets"]]
    s3(key, "s3v4").delete_object(Bucket=BUCKET, Key="object")
    s3(key, "s3v4").delete_bucket(Bucket=BUCKET)
    openstack("ec2", "credentials", "delete", key["access"], env=person)
    assert refusal(lambda: s3(key, "s3v4").list_buckets()) == "InvalidAccessKeyId"
    assert aws(key, "s3", "ls").returncode != 0
    openstack("user", "delete", person["OS_USERNAME"])
    openstack("project", "delete", person["OS_PROJECT_NAME"])
    print("all held")


if __name__ == "__main__":
    sys.exit(main())

#!/usr/bin/env python3
"""A server of Anello that asks another host's identity, tried with the clients that people have.

    tests/clients/identity/elsewhere.py PROGRAM [--no-delegated-keys]

PROGRAM is `anello`; identity is that of OS_* (an administrator's), an Anello's or OpenStack's Keystone. Starts a server
with data of its own that asks there, and makes it known there as the object store of a region of its own. What it makes
it deletes. Ends with 0 when all held. Keystone since 2026 makes no keys with application credentials and trusts: leave
them out with the option.
"""

import json
import os
import pathlib
import re
import signal
import subprocess
import sys
import tempfile
import time

import boto3
import botocore.config
import botocore.exceptions

from command import FAILED, SUFFIX, check, name, request, run, shown

REGION, PASSWORD, PATIENCE = f"region-{SUFFIX}", "pass word", 60
CONFIG = """
[identity.remote]
url = "{url}"
user = "{user}"
password_file = "{password_file}"
cache_seconds = 2
[s3]
region = "us-east-1"
"""


class Asking:
    """The server; ready when the constructor returns."""

    def __init__(self, program, directory):
        (directory / "password").write_text(PASSWORD + "\n")
        config = directory / "anello.toml"
        config.write_text(CONFIG.format(url=os.environ["OS_AUTH_URL"], user=name("anello"), password_file=directory / "password"))
        command = [program, "serve", "--config", config, "--data", directory / "data"]
        self.log = open(directory / "log", "w")
        self.process = subprocess.Popen([*command, "--listen", "127.0.0.1:0", "--s3-listen", "127.0.0.1:0"],
                                        stdout=subprocess.DEVNULL, stderr=self.log)
        deadline = time.monotonic() + PATIENCE
        while True:
            asked = subprocess.run([program, "status", "--json", "--data", directory / "data"], capture_output=True, text=True)
            status = json.loads(asked.stdout) if asked.returncode == 0 else {}
            if status.get("state") == "ready":
                break
            if self.process.poll() is not None or time.monotonic() > deadline:
                sys.exit(f"the server is not ready: {status.get('identity')}\n{(directory / 'log').read_text()}")
            time.sleep(0.05)
        self.gateway, self.s3 = (listener["url"] for listener in status["listeners"][:2])

    def stop(self):
        self.process.send_signal(signal.SIGTERM)
        self.process.wait()


def until(holds, what):
    """What was taken away ends within the bound, and a machine may be slow."""
    deadline = time.monotonic() + PATIENCE
    while not (held := holds()) and time.monotonic() < deadline:
        time.sleep(0.2)
    check(held, what)


def swift(url, token, method="GET"):
    """Status of a request to the object store."""
    command = ["curl", "-s", "-o", "/dev/null", "-w", "%{http_code}", "-X", method, "-H", f"X-Auth-Token: {token}", url]
    return int(subprocess.run(command, capture_output=True, text=True, check=True).stdout)


def s3(server, key, version="s3v4"):
    if key is None:
        return None
    config = botocore.config.Config(signature_version=version, s3={"addressing_style": "path"}, retries={"max_attempts": 1})
    return boto3.client("s3", endpoint_url=server.s3, config=config, region_name="us-east-1",
                        aws_access_key_id=key["access"], aws_secret_access_key=key["secret"])


def refusal(call):
    try:
        call()
    except botocore.exceptions.ClientError as error:
        return error.response["Error"]["Code"]
    return None


def token_of(identity, scope=None):
    """Token and JSON of a log-in."""
    auth = {"identity": identity, **({"scope": scope} if scope else {})}
    status, headers, answer = request("POST", "/v3/auth/tokens", body={"auth": auth})
    if status != 201:
        sys.exit(f"a log-in is answered {status}: {answer}")
    return headers["X-Subject-Token"], answer["token"]


def by_password(user, scope=None):
    who = {"name": user, "password": PASSWORD, "domain": {"name": "Default"}}
    return token_of({"methods": ["password"], "password": {"user": who}}, scope)


def by_application_credential(made):
    proof = {"id": made["id"], "secret": made["secret"]}
    return token_of({"methods": ["application_credential"], "application_credential": proof})[0]


def make(path, token, kind, body):
    status, _, answer = request("POST", f"/v3{path}", token, {kind: body})
    if status != 201:
        sys.exit(f"POST {path} is answered {status}: {answer}")
    return answer[kind]


def clients(person, files):
    """swift and openstack, which find the store in the catalog."""
    env = {**os.environ, **person}
    put = subprocess.run(["swift", "upload", "box", "file"], cwd=files, env=env, capture_output=True, text=True)
    check(put.returncode == 0, f"swift uploads {put.stderr}")
    got = subprocess.run(["swift", "download", "box", "file", "-o", "-"], env=env, capture_output=True)
    check(got.stdout == (files / "file").read_bytes(), "swift downloads the same")
    check("file" in run("object", "list", "box", env=person), "openstack lists it")
    run("object", "delete", "box", "file", env=person)


def keys(server, person, files):
    """boto3 and aws with a key that the openstack command makes."""
    key = shown("ec2", "credentials", "create", env=person)
    data = (files / "file").read_bytes()
    for version in "s3v4", "s3":
        client = s3(server, key, version)
        client.put_object(Bucket="box", Key="key", Body=data)
        check(client.get_object(Bucket="box", Key="key")["Body"].read() == data, f"boto3 puts and gets ({version})")
    env = {**os.environ, "AWS_ACCESS_KEY_ID": key["access"], "AWS_SECRET_ACCESS_KEY": key["secret"],
           "AWS_DEFAULT_REGION": "us-east-1", "AWS_REGION": "us-east-1", "AWS_ENDPOINT_URL": server.s3}
    copied = subprocess.run(["aws", "s3", "cp", files / "file", "s3://box/parts"], env=env, capture_output=True, text=True)
    check(copied.returncode == 0, f"aws copies in parts {copied.stderr}")
    wrong = s3(server, {**key, "secret": "wrong"})
    check(refusal(wrong.list_buckets) == "SignatureDoesNotMatch", "another secret signs nothing")
    unknown = s3(server, {**key, "access": "AKIANOBODY"})
    check(refusal(unknown.list_buckets) == "InvalidAccessKeyId", "an unknown key is one")
    client = s3(server, key)
    for one in "key", "parts":
        client.delete_object(Bucket="box", Key=one)
    run("ec2", "credentials", "delete", key["access"], env=person)
    until(lambda: refusal(client.list_buckets) == "InvalidAccessKeyId", "a deleted key ends")


def delegates(server, person, account):
    """Application credentials and trusts, and keys that are made with them."""
    project, user = shown("project", "show", name("person"))["id"], shown("user", "show", name("person"))["id"]
    token, _ = by_password(name("person"), {"project": {"id": project}})
    rule = {"service": "object-store", "method": "GET", "path": f"/v1/AUTH_{project}/box"}
    credentials = f"/users/{user}/application_credentials"
    ruled = make(credentials, token, "application_credential", {"name": "ruled", "access_rules": [rule]})
    ruled_token = by_application_credential(ruled)
    check(swift(f"{account}/box", ruled_token) in (200, 204), "an access rule lets pass what it names")
    check(swift(f"{account}/box", ruled_token, "PUT") == 401, "and no other method")
    check(swift(account, ruled_token) == 401, "and no other path")

    roles = {"name": "wide", "unrestricted": True, "roles": [{"name": "reader"}]}
    wide = make(credentials, token, "application_credential", roles)
    wide_token = by_application_credential(wide)
    check(swift(f"{account}/box", wide_token) in (200, 204), "an application credential's token counts")
    key = ec2_of(wide_token, user, project)
    client = s3(server, key)
    if key:
        check("Contents" not in client.list_objects_v2(Bucket="box"), "a reader's key, made with his credential, lists")
        check(refusal(lambda: client.put_object(Bucket="box", Key="k")) == "AccessDenied", "and writes nothing")
    run("application", "credential", "delete", "wide", env=person)
    until(lambda: swift(f"{account}/box", wide_token) == 401, "it ends with the credential")
    if key:
        until(lambda: refusal(client.list_buckets) == "InvalidAccessKeyId", "as does the key")

    trustee = shown("user", "create", name("trustee"), "--password", PASSWORD)["id"]
    lent = {"trustor_user_id": user, "trustee_user_id": trustee, "project_id": project, "impersonation": True,
            "roles": [{"name": "member"}]}
    trust = make("/OS-TRUST/trusts", token, "trust", lent)
    trust_token, _ = by_password(name("trustee"), {"OS-TRUST:trust": {"id": trust["id"]}})
    check(swift(account, trust_token) in (200, 204), "a trust's token counts")
    key = ec2_of(trust_token, user, project)
    client = s3(server, key)
    if key:
        client.put_object(Bucket="box", Key="lent", Body=b"")
        client.delete_object(Bucket="box", Key="lent")
    request("DELETE", f"/v3/OS-TRUST/trusts/{trust['id']}", token)
    until(lambda: swift(account, trust_token) == 401, "and ends with the trust")
    if key:
        until(lambda: refusal(client.list_buckets) == "InvalidAccessKeyId", "as does a key that was made with it")


def ec2_of(token, user, project):
    """A key made by the API of credentials, which keeps what it was made with; none where such are not made."""
    if "--no-delegated-keys" in sys.argv:
        return None
    key = {"access": os.urandom(16).hex(), "secret": os.urandom(16).hex()}
    make("/credentials", token, "credential",
         {"type": "ec2", "blob": json.dumps(key), "user_id": user, "project_id": project})
    return key


def endings(server, person, account):
    """What is taken away in one place ends in the other."""
    key = shown("ec2", "credentials", "create", env=person)
    client, token = s3(server, key), shown("token", "issue", env=person)["id"]
    words = "--user", name("person"), "--project", name("person"), "member"
    is_over = lambda: refusal(client.list_buckets) == "InvalidAccessKeyId"
    is_shut_out = lambda: swift(account, token) == 401
    check(not is_over() and not is_shut_out(), "a token and a key count")
    run("role", "remove", *words)
    until(is_over, "a key whose user has lost his role ends")
    until(is_shut_out, "and his token")
    run("role", "add", *words)
    until(lambda: not is_over(), "with the role the key is back")
    for kind in "project", "user":
        run(kind, "set", "--disable", name("person"))
        until(is_over, f"a disabled {kind}'s key ends")
        run(kind, "set", "--enable", name("person"))
        until(lambda: not is_over(), "and is back with it")
    token = shown("token", "issue", env=person)["id"]
    check(not is_shut_out(), "a new token counts")
    run("token", "revoke", token, env=person)
    until(is_shut_out, "a revoked token ends")
    run("container", "delete", "--recursive", "box", env=person)


def main():
    program, identity = sys.argv[1], os.environ["OS_AUTH_URL"]
    run("user", "create", name("anello"), "--password", PASSWORD)
    run("role", "add", "--user", name("anello"), "--system", "all", "reader")
    run("project", "create", name("person"))
    run("user", "create", name("person"), "--password", PASSWORD)
    run("role", "add", "--user", name("person"), "--project", name("person"), "member")
    person = {"OS_USERNAME": name("person"), "OS_PASSWORD": PASSWORD, "OS_PROJECT_NAME": name("person"),
              "OS_USER_DOMAIN_NAME": "Default", "OS_PROJECT_DOMAIN_NAME": "Default", "OS_REGION_NAME": REGION}
    with tempfile.TemporaryDirectory() as work:
        work = pathlib.Path(work)
        (work / "file").write_bytes(os.urandom(12 * 1024 * 1024))
        server = Asking(program, work)
        try:
            run("region", "create", REGION)
            service = shown("service", "create", "object-store", "--name", name("store"))["id"]
            run("endpoint", "create", service, "public", f"{server.gateway}/v1/AUTH_%(project_id)s", "--region", REGION)
            # The openstack command looks for identity in the same region.
            endpoint = shown("endpoint", "create", "identity", "public", identity, "--region", REGION)["id"]
            account = f"{server.gateway}/v1/AUTH_{shown('project', 'show', name('person'))['id']}"
            clients(person, work)
            keys(server, person, work)
            delegates(server, person, account)
            endings(server, person, account)
            check(PASSWORD not in (work / "log").read_text(), "the log bears no password")
        finally:
            server.stop()
    for words in (("service", "delete", service), ("endpoint", "delete", endpoint), ("region", "delete", REGION), ("user", "delete", name("trustee")),
                  ("user", "delete", name("person")), ("project", "delete", name("person")),
                  ("user", "delete", name("anello"))):
        run(*words)
    print(f"{len(FAILED)} of the checks failed, identity is {re.sub(r'//.*?@', '//', identity)}")
    return 1 if FAILED else 0


if __name__ == "__main__":
    sys.exit(main())

"""What the attacks need: raw requests, signatures of their own making, and a small cloud that is theirs to break.

Takes OS_* and AWS_* of an administrator, as ./dev exports them. Everything it makes bears a random suffix.
"""

import base64
import datetime
import hashlib
import hmac
import http.client
import json
import os
import urllib.parse
import uuid

IDENTITY = urllib.parse.urlsplit(os.environ["OS_AUTH_URL"].removesuffix("/").removesuffix("/v3"))
S3 = urllib.parse.urlsplit(os.environ["AWS_ENDPOINT_URL"])
REGION = os.environ.get("AWS_DEFAULT_REGION", "us-east-1")
SUFFIX = uuid.uuid4().hex[:8]
PASSWORD = "pass word"


class Answer:
    """An answer: status, headers, text, and JSON where it is some."""

    def __init__(self, answer):
        self.status, self.headers, self.data = answer.status, answer.headers, answer.read()

    @property
    def json(self):
        return json.loads(self.data or "null")

    def __str__(self):
        """The status, with S3's code where there is one."""
        code = self.data.partition(b"<Code>")[2].partition(b"</Code>")[0].decode()
        return f"{self.status} {code}".strip()


def send(method, path, headers=(), body=None, host=IDENTITY):
    """A request just as it is given: neither the path nor the headers are put in order."""
    connection = http.client.HTTPConnection(host.hostname, host.port, timeout=30)
    connection.putrequest(method, path, skip_accept_encoding=True)
    for name, value in headers:
        connection.putheader(name, value)
    if body is not None and not any(name.lower() in ("content-length", "transfer-encoding") for name, _ in headers):
        connection.putheader("Content-Length", str(len(body)))
    connection.endheaders()
    try:
        if body:
            connection.send(body)
    except OSError:
        # Refused before it was read; the answer says so.
        pass
    answer = Answer(connection.getresponse())
    connection.close()
    return answer


def ask(method, path, token=None, body=None, headers=()):
    """A request to identity below /v3, with a JSON body (bytes go as they are)."""
    data = body if body is None or isinstance(body, bytes) else json.dumps(body).encode()
    headers = [("Content-Type", "application/json"), *headers]
    if token is not None:
        headers.append(("X-Auth-Token", token))
    return send(method, f"{IDENTITY.path}/v3{path}", headers, data)


def must(method, path, token, body=None):
    """The JSON of a request that has to succeed."""
    answer = ask(method, path, token, body)
    assert answer.status < 300, f"{method} {path}: {answer.status} {answer.data[:300]}"
    return answer.json


def log_in(identity, scope=None):
    auth = {"identity": identity}
    if scope is not None:
        auth["scope"] = scope
    return ask("POST", "/auth/tokens", body={"auth": auth})


def by_password(user_id, password=PASSWORD):
    return {"methods": ["password"], "password": {"user": {"id": user_id, "password": password}}}


def by_token(token):
    return {"methods": ["token"], "token": {"id": token}}


def project(id):
    return {"project": {"id": id}}


def domain(id):
    return {"domain": {"id": id}}


SYSTEM = {"system": {"all": True}}


def token_of(answer):
    assert answer.status == 201, f"{answer.status} {answer.data[:300]}"
    return answer.headers["X-Subject-Token"]


class Person:
    """A user with a role on a project of his domain."""

    def __init__(self, cloud, name, domain_id, project_id=None, role=None, on_domain=None):
        self.project_id, self.cloud = project_id, cloud
        body = {"name": f"{name}-{SUFFIX}", "domain_id": domain_id, "password": PASSWORD}
        self.id = must("POST", "/users", cloud.admin, {"user": body})["user"]["id"]
        if role:
            where = f"domains/{domain_id}" if on_domain else f"projects/{project_id}"
            self.grant = f"/{where}/users/{self.id}/roles/{cloud.roles[role]}"
            must("PUT", self.grant, cloud.admin)
        self.scope = domain(domain_id) if on_domain else project(project_id)

    def token(self):
        return token_of(log_in(by_password(self.id), self.scope))

    def unscoped(self):
        return token_of(log_in(by_password(self.id), "unscoped"))

    def key(self):
        """An access key and its secret."""
        path = f"/users/{self.id}/credentials/OS-EC2"
        made = must("POST", path, self.token(), {"tenant_id": self.project_id})["credential"]
        return made["access"], made["secret"]

    def application_credential(self, **fields):
        body = {"name": uuid.uuid4().hex, **fields}
        path = f"/users/{self.id}/application_credentials"
        made = must("POST", path, self.token(), {"application_credential": body})["application_credential"]
        identity = {"methods": ["application_credential"],
                    "application_credential": {"id": made["id"], "secret": made["secret"]}}
        return made["id"], identity


class Cloud:
    """Two domains, each with a project and people."""

    def __init__(self):
        user = {"name": os.environ["OS_USERNAME"], "password": os.environ["OS_PASSWORD"],
                "domain": {"name": os.environ["OS_USER_DOMAIN_NAME"]}}
        scope = {"project": {"name": os.environ["OS_PROJECT_NAME"],
                             "domain": {"name": os.environ["OS_PROJECT_DOMAIN_NAME"]}}}
        self.admin = token_of(log_in({"methods": ["password"], "password": {"user": user}}, scope))
        self.roles = {role["name"]: role["id"] for role in must("GET", "/roles", self.admin)["roles"]}
        self.red, self.red_project = self.new_domain("red")
        self.blue, self.blue_project = self.new_domain("blue")
        self.member = self.person("member", "member")
        self.other = self.person("other", "member")
        self.manager = Person(self, "manager", self.red, role="manager", on_domain=True)
        self.reader = Person(self, "reader", self.red, role="reader", on_domain=True)
        self.stranger = Person(self, "stranger", self.blue, self.blue_project, "member")

    def new_domain(self, name):
        made = must("POST", "/domains", self.admin, {"domain": {"name": f"{name}-{SUFFIX}"}})["domain"]["id"]
        return made, self.new_project("project", made)

    def new_project(self, name, domain_id):
        body = {"name": f"{name}-{uuid.uuid4().hex[:8]}", "domain_id": domain_id}
        return must("POST", "/projects", self.admin, {"project": body})["project"]["id"]

    def person(self, name, role):
        """Another one in the red project."""
        return Person(self, f"{name}-{uuid.uuid4().hex[:6]}", self.red, self.red_project, role)

    def change(self, kind, id, **fields):
        must("PATCH", f"/{kind}s/{id}", self.admin, {kind: fields})

    def close(self):
        for id in self.red, self.blue:
            self.change("domain", id, enabled=False)
            must("DELETE", f"/domains/{id}", self.admin)


def now(seconds=0):
    return datetime.datetime.now(datetime.timezone.utc) + datetime.timedelta(seconds=seconds)


def basic(time):
    return time.strftime("%Y%m%dT%H%M%SZ")


def _hmac(key, text, digest=hashlib.sha256):
    return hmac.new(key if isinstance(key, bytes) else key.encode(), text.encode(), digest).digest()


def signature_4(secret, scope, text):
    key = ("AWS4" + secret).encode()
    for part in scope.split("/"):
        key = _hmac(key, part)
    return _hmac(key, text).hex()


def signed_4(key, method, path, body=b"", time=None, query="", service="s3", host=S3):
    """Headers of a request signed by version 4."""
    access, secret = key
    date, digest = basic(time or now()), hashlib.sha256(body).hexdigest()
    scope = f"{date[:8]}/{REGION}/{service}/aws4_request"
    names = "host;x-amz-content-sha256;x-amz-date"
    canonical = f"{method}\n{path}\n{query}\nhost:{host.netloc}\nx-amz-content-sha256:{digest}\nx-amz-date:{date}\n\n{names}\n{digest}"
    text = f"AWS4-HMAC-SHA256\n{date}\n{scope}\n{hashlib.sha256(canonical.encode()).hexdigest()}"
    line = f"AWS4-HMAC-SHA256 Credential={access}/{scope}, SignedHeaders={names}, Signature={signature_4(secret, scope, text)}"
    return [("x-amz-date", date), ("x-amz-content-sha256", digest), ("Authorization", line)]


def presigned_4(key, method, path, time=None, seconds=60):
    """The query of an address signed by version 4."""
    access, secret = key
    date = basic(time or now())
    scope = f"{date[:8]}/{REGION}/s3/aws4_request"
    query = urllib.parse.urlencode({
        "X-Amz-Algorithm": "AWS4-HMAC-SHA256", "X-Amz-Credential": f"{access}/{scope}", "X-Amz-Date": date,
        "X-Amz-Expires": str(seconds), "X-Amz-SignedHeaders": "host"}, quote_via=urllib.parse.quote, safe="")
    canonical = f"{method}\n{path}\n{query}\nhost:{S3.netloc}\n\nhost\nUNSIGNED-PAYLOAD"
    text = f"AWS4-HMAC-SHA256\n{date}\n{scope}\n{hashlib.sha256(canonical.encode()).hexdigest()}"
    return f"{query}&X-Amz-Signature={signature_4(secret, scope, text)}"


def signed_2(key, method, path, time=None):
    """Headers of a request signed by version 2."""
    access, secret = key
    date = (time or now()).strftime("%a, %d %b %Y %H:%M:%S GMT")
    signature = base64.b64encode(_hmac(secret, f"{method}\n\n\n{date}\n{path}", hashlib.sha1)).decode()
    return [("Date", date), ("Authorization", f"AWS {access}:{signature}")]


def presigned_2(key, method, path, seconds=60):
    access, secret = key
    expires = int(now(seconds).timestamp())
    signature = base64.b64encode(_hmac(secret, f"{method}\n\n\n{expires}\n{path}", hashlib.sha1)).decode()
    return urllib.parse.urlencode({"AWSAccessKeyId": access, "Expires": expires, "Signature": signature})


def ec2_2(key, time=None, **params):
    """A forwarded EC2 request of version 2."""
    access, secret = key
    params = {"Action": "Test", "SignatureVersion": "2", "SignatureMethod": "HmacSHA256", "AWSAccessKeyId": access,
              "Timestamp": (time or now()).strftime("%Y-%m-%dT%H:%M:%SZ"), **params}
    params = {name: value for name, value in params.items() if value is not None}
    query = "&".join(f"{urllib.parse.quote(n, safe='-_.~')}={urllib.parse.quote(v, safe='-_.~')}" for n, v in sorted(params.items()))
    signature = base64.b64encode(_hmac(secret, f"GET\nh\n/\n{query}")).decode()
    return {"access": access, "signature": signature, "host": "h", "verb": "GET", "path": "/", "params": params,
            "headers": {}, "body_hash": ""}


def ec2_4(key, time=None, date_header="X-Amz-Date"):
    """A forwarded EC2 request of version 4."""
    access, secret = key
    date, digest = basic(time or now()), hashlib.sha256(b"").hexdigest()
    scope = f"{date[:8]}/{REGION}/ec2/aws4_request"
    canonical = f"POST\n/\n\nhost:h\nx-amz-date:{date}\n\nhost;x-amz-date\n{digest}"
    text = f"AWS4-HMAC-SHA256\n{date}\n{scope}\n{hashlib.sha256(canonical.encode()).hexdigest()}"
    signature = signature_4(secret, scope, text)
    line = f"AWS4-HMAC-SHA256 Credential={access}/{scope}, SignedHeaders=host;x-amz-date, Signature={signature}"
    return {"access": access, "signature": signature, "host": "h", "verb": "POST", "path": "/", "params": {},
            "headers": {"Host": "h", date_header: date, "Authorization": line}, "body_hash": digest}

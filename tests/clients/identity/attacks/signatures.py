"""Requests signed with an access key, at the S3 door and forwarded to Keystone."""

import base64
import uuid

from cloud import (S3, ask, basic, ec2_2, ec2_4, must, now, presigned_2, presigned_4, send, signature_4, signed_2,
                   signed_4)

TITLE = "Signatures"


def attacks(cloud):
    person = cloud.person("signer", "member")
    key = person.key()
    bucket, path = f"/attacks-{uuid.uuid4().hex[:8]}", ""
    path = bucket + "/object"
    wrong, nobody = (key[0], "wrong" + key[1]), ("NOBODYSKEY", key[1])

    def s3(method, path, headers=(), body=None):
        return send(method, path, headers, body, host=S3)

    assert s3("PUT", bucket, signed_4(key, "PUT", bucket)).status == 200
    put = signed_4(key, "PUT", path, b"content")
    assert s3("PUT", path, put, b"content").status == 200

    yield "version 4, another secret", "403 SignatureDoesNotMatch", s3("GET", path, signed_4(wrong, "GET", path))
    yield "version 4, an unknown access key", "403 InvalidAccessKeyId", s3("GET", path, signed_4(nobody, "GET", path))
    yield ("version 4, signed 20 minutes ago", "403 RequestTimeTooSkewed",
           s3("GET", path, signed_4(key, "GET", path, time=now(-1200))))
    yield ("version 4, signed 20 minutes ahead", "403 RequestTimeTooSkewed",
           s3("GET", path, signed_4(key, "GET", path, time=now(1200))))
    yield ("version 4, an old signature under a new date", "403 SignatureDoesNotMatch",
           s3("GET", path, [("x-amz-date", basic(now())), *signed_4(key, "GET", path, time=now(-1200))[1:]]))
    yield "version 4, replayed with another body", "400 XAmzContentSHA256Mismatch", s3("PUT", path, put, b"another")
    yield "version 4, replayed for another object", "403 SignatureDoesNotMatch", s3("PUT", path + "2", put, b"content")
    yield "version 4, replayed with another method", "403 SignatureDoesNotMatch", s3("DELETE", path, put)
    yield "version 4, replayed with a query", "403 SignatureDoesNotMatch", s3("PUT", path + "?acl", put, b"content")
    yield ("version 4, made for another service", "501 NotImplemented",
           s3("GET", path, signed_4(key, "GET", path, service="ec2")))
    yield "version 2, another secret", "403 SignatureDoesNotMatch", s3("GET", path, signed_2(wrong, "GET", path))
    yield ("version 2, signed 20 minutes ago", "403 RequestTimeTooSkewed",
           s3("GET", path, signed_2(key, "GET", path, time=now(-1200))))
    yield "version 2, without a date", "403 AccessDenied", s3("GET", path, signed_2(key, "GET", path)[1:])
    yield ("version 2, replayed for another object", "403 SignatureDoesNotMatch",
           s3("GET", path + "2", signed_2(key, "GET", path)))

    def presigned(query, method="GET"):
        return s3(method, f"{path}?{query}", body=b"" if method == "PUT" else None)

    assert presigned(presigned_4(key, "GET", path)).status == 200
    assert presigned(presigned_2(key, "GET", path)).status == 200
    yield ("presigned by version 4, after its end", "403 AccessDenied",
           presigned(presigned_4(key, "GET", path, time=now(-120))))
    yield ("presigned by version 4, for more than seven days", "400 AuthorizationQueryParametersError",
           presigned(presigned_4(key, "GET", path, seconds=700_000)))
    yield ("presigned by version 4, its end put off", "403 SignatureDoesNotMatch",
           presigned(presigned_4(key, "GET", path, time=now(-120)).replace("Expires=60", "Expires=6000")))
    yield ("presigned by version 4 for a GET, used for a PUT", "403 SignatureDoesNotMatch",
           presigned(presigned_4(key, "GET", path), "PUT"))
    yield "presigned by version 2, after its end", "403 AccessDenied", presigned(presigned_2(key, "GET", path, -60))
    yield ("presigned by version 2, its end put off", "403 SignatureDoesNotMatch",
           presigned(presigned_2(key, "GET", path, -60).replace("Expires=1", "Expires=2")))

    admin = cloud.admin

    def ec2(credentials, token=admin):
        return ask("POST", "/ec2tokens", token, {"credentials": credentials})

    assert ec2(ec2_2(key)).status == 200 and ec2(ec2_4(key)).status == 200 and ec2(ec2_4(key, None, "x-amz-date")).status == 200
    yield "`/v3/ec2tokens` asked without a token", "401", ec2(ec2_2(key), None)
    yield "`/v3/ec2tokens` asked by a member", "403", ec2(ec2_2(key), cloud.member.token())
    yield "`/v3/ec2tokens`, version 2, another secret", "401", ec2(ec2_2(wrong))
    yield "`/v3/ec2tokens`, an unknown access key", "404", ec2(ec2_2(nobody))
    yield "`/v3/ec2tokens`, version 2, a parameter changed", "401", ec2(
        {**ec2_2(key), "params": {**ec2_2(key)["params"], "Action": "Other"}})
    yield "`/v3/ec2tokens`, version 2, signed 20 minutes ago", "401", ec2(ec2_2(key, now(-1200)))
    yield "`/v3/ec2tokens`, version 2, without a time", "401", ec2(ec2_2(key, Timestamp=None))
    yield "`/v3/ec2tokens`, version 2, an algorithm that is none", "401", ec2(ec2_2(key, SignatureMethod="none"))
    yield "`/v3/ec2tokens`, version 4, another secret", "401", ec2(ec2_4(wrong))
    yield "`/v3/ec2tokens`, version 4, signed 20 minutes ago", "401", ec2(ec2_4(key, now(-1200)))
    yield ("`/v3/ec2tokens`, version 4, the same with its header in small letters", "401",
           ec2(ec2_4(key, now(-1200), "x-amz-date")))
    old = ec2_4(key, now(-1200), "x-amz-date")
    old["headers"]["X-Amz-Date"] = basic(now())
    yield "`/v3/ec2tokens`, version 4, signed 20 minutes ago, a new date beside the signed one", "401", ec2(old)
    old = ec2_4(key, now(-1200), "x-amz-date")
    old["params"]["Timestamp"] = now().strftime("%Y-%m-%dT%H:%M:%SZ")
    yield "`/v3/ec2tokens`, version 4, signed 20 minutes ago, a new `Timestamp`", "401", ec2(old)
    yield ("`/v3/ec2tokens`, version 4, replayed with another body", "401",
           ec2({**ec2_4(key), "body_hash": "00" * 32}))
    yield "`/v3/ec2tokens`, an empty signature", "401", ec2({**ec2_2(key), "signature": ""})
    yield "`/v3/ec2tokens`, no signature", "401", ec2({"access": key[0]})
    yield "`/v3/ec2tokens`, values of wrong types", "401", ec2({"access": key[0], "signature": 1, "params": [], "headers": 5, "host": {}})
    scope = f"{basic(now())[:8]}/{uuid.uuid4().hex}/ec2/aws4_request"
    text = f"AWS4-HMAC-SHA256\n{basic(now())}\n{scope}\n{'00' * 32}"

    s3_token = {"access": key[0], "token": base64.urlsafe_b64encode(text.encode()).decode(), "signature": signature_4(key[1], scope, text)}
    yield "`/v3/s3tokens`, a signature that was made for another service", "401", ask(
        "POST", "/s3tokens", admin, {"credentials": s3_token})
    yield "`/v3/s3tokens`, no string to sign", "401", ask(
        "POST", "/s3tokens", admin, {"credentials": {**s3_token, "token": ""}})
    yield "`/v3/s3tokens` asked by a member", "403", ask(
        "POST", "/s3tokens", cloud.member.token(), {"credentials": s3_token})

    must("DELETE", f"/users/{person.id}/credentials/OS-EC2/{key[0]}", admin)
    yield ("a key right after it was deleted", "403 InvalidAccessKeyId", s3("GET", path, signed_4(key, "GET", path)))
    yield "`/v3/ec2tokens` with a deleted key", "404", ec2(ec2_2(key))
    key = person.key()
    assert s3("GET", path, signed_4(key, "GET", path)).status == 200
    must("DELETE", person.grant, admin)
    yield ("a key right after its user lost his role", "403 InvalidAccessKeyId", s3("GET", path, signed_4(key, "GET", path)))
    yield "`/v3/ec2tokens` with the key of a user who lost his role", "401", ec2(ec2_2(key))
    must("PUT", person.grant, admin)
    cloud.change("user", person.id, enabled=False)
    yield ("a key right after its user was disabled", "403 InvalidAccessKeyId", s3("GET", path, signed_4(key, "GET", path)))
    cloud.change("user", person.id, enabled=True)
    assert s3("DELETE", path, signed_4(key, "DELETE", path)).status == 204
    assert s3("DELETE", bucket, signed_4(key, "DELETE", bucket)).status == 204

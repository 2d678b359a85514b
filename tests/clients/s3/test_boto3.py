"""The S3 door through boto3, as an application uses it.

Takes AWS_ENDPOINT_URL, AWS_ACCESS_KEY_ID, AWS_SECRET_ACCESS_KEY and AWS_REGION (or AWS_DEFAULT_REGION) from the
environment. Every test makes its own bucket and clears it away.
"""

import concurrent.futures
import datetime
import hashlib
import io
import json
import os
import unittest
import urllib.error
import urllib.request
import uuid

import boto3
from boto3.s3.transfer import TransferConfig
from botocore.client import Config
from botocore.exceptions import ClientError, MissingDependencyException

PART = 5 * 1024 * 1024


def make_client(**options):
    region = os.environ.get("AWS_REGION") or os.environ.get("AWS_DEFAULT_REGION") or "us-east-1"
    config = Config(s3={"addressing_style": "path"}, retries={"max_attempts": 1}, **options)
    return boto3.client("s3", endpoint_url=os.environ["AWS_ENDPOINT_URL"], region_name=region, config=config)


class S3Case(unittest.TestCase):
    def setUp(self):
        self.s3 = make_client()
        self.bucket = f"test-{uuid.uuid4().hex[:12]}"
        self.s3.create_bucket(Bucket=self.bucket)
        self.addCleanup(self.clear)

    def clear(self):
        for page in self.s3.get_paginator("list_multipart_uploads").paginate(Bucket=self.bucket):
            for upload in page.get("Uploads", []):
                self.s3.abort_multipart_upload(Bucket=self.bucket, Key=upload["Key"], UploadId=upload["UploadId"])
        for page in self.s3.get_paginator("list_object_versions").paginate(Bucket=self.bucket):
            entries = page.get("Versions", []) + page.get("DeleteMarkers", [])
            keys = [{"Key": entry["Key"], "VersionId": entry["VersionId"]} for entry in entries]
            if keys:
                answer = self.s3.delete_objects(Bucket=self.bucket, Delete={"Objects": keys},
                                                BypassGovernanceRetention=True)
                self.assertEqual(answer.get("Errors", []), [])
        self.s3.delete_bucket(Bucket=self.bucket)

    def fails(self, code, status, call, **arguments):
        with self.assertRaises(ClientError) as caught:
            call(**arguments)
        answer = caught.exception.response
        self.assertEqual((answer["Error"]["Code"], answer["ResponseMetadata"]["HTTPStatusCode"]), (code, status))


class Versions(S3Case):
    def setUp(self):
        super().setUp()
        self.s3.put_bucket_versioning(Bucket=self.bucket, VersioningConfiguration={"Status": "Enabled"})

    def test_versions_are_read_listed_and_deleted_each_by_its_id(self):
        bodies = [b"one", b"two" * 200_000, b"three"]
        puts = [self.s3.put_object(Bucket=self.bucket, Key="k", Body=body)["VersionId"] for body in bodies]
        for version, body in zip(puts, bodies):
            got = self.s3.get_object(Bucket=self.bucket, Key="k", VersionId=version)
            self.assertEqual((got["Body"].read(), got["VersionId"]), (body, version))
        marker = self.s3.delete_object(Bucket=self.bucket, Key="k")
        self.assertTrue(marker["DeleteMarker"])
        self.fails("NoSuchKey", 404, self.s3.get_object, Bucket=self.bucket, Key="k")
        self.fails("MethodNotAllowed", 405, self.s3.get_object, Bucket=self.bucket, Key="k",
                   VersionId=marker["VersionId"])
        listed = self.s3.list_object_versions(Bucket=self.bucket, MaxKeys=2)
        self.assertEqual([entry["VersionId"] for entry in listed["DeleteMarkers"]], [marker["VersionId"]])
        self.assertEqual([entry["VersionId"] for entry in listed["Versions"]], puts[:1:-1])
        rest = self.s3.list_object_versions(Bucket=self.bucket, KeyMarker=listed["NextKeyMarker"],
                                            VersionIdMarker=listed["NextVersionIdMarker"])
        self.assertEqual([entry["VersionId"] for entry in rest["Versions"]], puts[1::-1])
        self.fails("BucketNotEmpty", 409, self.s3.delete_bucket, Bucket=self.bucket)
        self.s3.delete_object(Bucket=self.bucket, Key="k", VersionId=marker["VersionId"])
        self.s3.delete_object(Bucket=self.bucket, Key="k", VersionId=puts[2])
        self.assertEqual(self.s3.get_object(Bucket=self.bucket, Key="k")["Body"].read(), bodies[1])

    def test_an_upload_in_parts_and_a_copy_of_a_version_are_versions(self):
        first = self.s3.put_object(Bucket=self.bucket, Key="k", Body=b"first")["VersionId"]
        upload = self.s3.create_multipart_upload(Bucket=self.bucket, Key="k")["UploadId"]
        part = self.s3.upload_part(Bucket=self.bucket, Key="k", UploadId=upload, PartNumber=1, Body=b"p" * PART)
        parts = {"Parts": [{"PartNumber": 1, "ETag": part["ETag"]}]}
        done = self.s3.complete_multipart_upload(Bucket=self.bucket, Key="k", UploadId=upload, MultipartUpload=parts)
        again = self.s3.complete_multipart_upload(Bucket=self.bucket, Key="k", UploadId=upload, MultipartUpload=parts)
        self.assertEqual(done["VersionId"], again["VersionId"])
        source = {"Bucket": self.bucket, "Key": "k", "VersionId": first}
        copied = self.s3.copy_object(Bucket=self.bucket, Key="k", CopySource=source)
        self.assertEqual(copied["CopySourceVersionId"], first)
        self.assertEqual(self.s3.get_object(Bucket=self.bucket, Key="k")["Body"].read(), b"first")
        got = self.s3.get_object(Bucket=self.bucket, Key="k", VersionId=done["VersionId"])
        self.assertEqual(got["Body"].read(), b"p" * PART)

    def test_tags_are_a_versions_own(self):
        first = self.s3.put_object(Bucket=self.bucket, Key="k", Body=b"1", Tagging="a=1")["VersionId"]
        self.s3.put_object(Bucket=self.bucket, Key="k", Body=b"2")
        tags = {"TagSet": [{"Key": "a", "Value": "2"}]}
        self.s3.put_object_tagging(Bucket=self.bucket, Key="k", VersionId=first, Tagging=tags)
        got = self.s3.get_object_tagging(Bucket=self.bucket, Key="k", VersionId=first)
        self.assertEqual((got["TagSet"], got["VersionId"]), (tags["TagSet"], first))
        self.assertEqual(self.s3.get_object_tagging(Bucket=self.bucket, Key="k")["TagSet"], [])


class ObjectLock(S3Case):
    def setUp(self):
        self.s3 = make_client()
        self.bucket = f"test-{uuid.uuid4().hex[:12]}"
        self.s3.create_bucket(Bucket=self.bucket, ObjectLockEnabledForBucket=True)
        self.addCleanup(self.clear)

    def test_a_held_or_retained_version_stays(self):
        until = datetime.datetime.now(datetime.timezone.utc) + datetime.timedelta(days=1)
        put = self.s3.put_object(Bucket=self.bucket, Key="k", Body=b"x", ObjectLockMode="GOVERNANCE",
                                 ObjectLockRetainUntilDate=until, ObjectLockLegalHoldStatus="ON")
        one = {"Bucket": self.bucket, "Key": "k", "VersionId": put["VersionId"]}
        self.fails("AccessDenied", 403, self.s3.delete_object, BypassGovernanceRetention=True, **one)
        self.s3.put_object_legal_hold(LegalHold={"Status": "OFF"}, **one)
        self.fails("AccessDenied", 403, self.s3.delete_object, **one)
        head = self.s3.head_object(**one)
        self.assertEqual((head["ObjectLockMode"], head["ObjectLockLegalHoldStatus"]), ("GOVERNANCE", "OFF"))
        shorter = {"Mode": "GOVERNANCE", "RetainUntilDate": until - datetime.timedelta(hours=1)}
        self.fails("AccessDenied", 403, self.s3.put_object_retention, Retention=shorter, **one)
        self.s3.delete_object(BypassGovernanceRetention=True, **one)

    def test_a_bucket_has_a_default(self):
        default = {"ObjectLockEnabled": "Enabled",
                   "Rule": {"DefaultRetention": {"Mode": "GOVERNANCE", "Days": 1}}}
        self.s3.put_object_lock_configuration(Bucket=self.bucket, ObjectLockConfiguration=default)
        got = self.s3.get_object_lock_configuration(Bucket=self.bucket)["ObjectLockConfiguration"]
        self.assertEqual(got, default)
        put = self.s3.put_object(Bucket=self.bucket, Key="k", Body=b"x")
        self.fails("AccessDenied", 403, self.s3.delete_object, Bucket=self.bucket, Key="k",
                   VersionId=put["VersionId"])
        self.fails("InvalidBucketState", 409, self.s3.put_bucket_versioning, Bucket=self.bucket,
                   VersioningConfiguration={"Status": "Suspended"})


class Policies(S3Case):
    def put(self, *statements):
        self.s3.put_bucket_policy(Bucket=self.bucket, Policy=json.dumps(
            {"Version": "2012-10-17", "Statement": list(statements)}))

    def status(self, key):
        url = f"{os.environ['AWS_ENDPOINT_URL']}/{self.bucket}/{key}"
        try:
            with urllib.request.urlopen(url) as answer:
                return answer.status
        except urllib.error.HTTPError as error:
            return error.code

    def test_a_policy_opens_closes_and_is_blocked(self):
        arn = f"arn:aws:s3:::{self.bucket}"
        for key in "open/a", "closed/a":
            self.s3.put_object(Bucket=self.bucket, Key=key, Body=b"x")
        allow = {"Effect": "Allow", "Principal": "*", "Action": "s3:GetObject", "Resource": f"{arn}/open/*"}
        deny = {"Effect": "Deny", "Principal": "*", "Action": "s3:PutObject", "Resource": f"{arn}/closed/*"}
        self.put(allow, deny)
        self.assertEqual([self.status("open/a"), self.status("closed/a")], [200, 403])
        self.fails("AccessDenied", 403, self.s3.put_object, Bucket=self.bucket, Key="closed/b", Body=b"x")
        self.assertTrue(self.s3.get_bucket_policy_status(Bucket=self.bucket)["PolicyStatus"]["IsPublic"])
        self.s3.put_public_access_block(Bucket=self.bucket, PublicAccessBlockConfiguration={
            "BlockPublicPolicy": True, "RestrictPublicBuckets": True})
        self.assertEqual(self.status("open/a"), 403)
        with self.assertRaises(ClientError) as caught:
            self.put(allow)
        self.assertEqual(caught.exception.response["Error"]["Code"], "AccessDenied")
        with self.assertRaises(ClientError) as caught:
            self.put({**deny, "Resource": "arn:aws:s3:::another/*"})
        self.assertEqual(caught.exception.response["Error"]["Code"], "MalformedPolicy")
        self.s3.delete_bucket_policy(Bucket=self.bucket)
        self.fails("NoSuchBucketPolicy", 404, self.s3.get_bucket_policy, Bucket=self.bucket)

    def test_a_browser_is_told_what_another_site_may(self):
        self.s3.put_bucket_cors(Bucket=self.bucket, CORSConfiguration={"CORSRules": [
            {"AllowedMethods": ["GET"], "AllowedOrigins": ["https://*.example.com"], "AllowedHeaders": ["x-*"],
             "ExposeHeaders": ["ETag"], "MaxAgeSeconds": 60}]})
        url = f"{os.environ['AWS_ENDPOINT_URL']}/{self.bucket}/k"
        headers = {"Origin": "https://a.example.com", "Access-Control-Request-Method": "GET",
                   "Access-Control-Request-Headers": "X-Own"}
        with urllib.request.urlopen(urllib.request.Request(url, headers=headers, method="OPTIONS")) as answer:
            self.assertEqual(answer.headers["Access-Control-Allow-Origin"], "https://a.example.com")
            self.assertEqual(answer.headers["Access-Control-Max-Age"], "60")
        for changed in {"Origin": "https://example.org"}, {"Access-Control-Request-Method": "PUT"}:
            request = urllib.request.Request(url, headers={**headers, **changed}, method="OPTIONS")
            with self.assertRaises(urllib.error.HTTPError) as caught:
                urllib.request.urlopen(request)
            self.assertEqual(caught.exception.code, 403)


class Forms(S3Case):
    def post(self, fields, data, name="a.txt"):
        mark = uuid.uuid4().hex
        parts = [f'--{mark}\r\nContent-Disposition: form-data; name="{key}"\r\n\r\n{value}\r\n'.encode()
                 for key, value in fields.items()]
        parts.append(f'--{mark}\r\nContent-Disposition: form-data; name="file"; filename="{name}"\r\n\r\n'.encode())
        body = b"".join([*parts, data, f"\r\n--{mark}--\r\n".encode()])
        request = urllib.request.Request(f"{os.environ['AWS_ENDPOINT_URL']}/{self.bucket}", body,
                                         {"Content-Type": f"multipart/form-data; boundary={mark}"})
        try:
            with urllib.request.urlopen(request) as answer:
                return answer.status, answer.read().decode()
        except urllib.error.HTTPError as error:
            return error.code, error.read().decode()

    def test_a_form_is_taken_as_far_as_its_policy_lets_it(self):
        conditions = [["starts-with", "$key", "up/"], {"x-amz-meta-a": "1"}, {"success_action_status": "201"},
                      ["content-length-range", 2, 1_000_000]]
        for version in "s3v4", "s3":
            signed = make_client(signature_version=version).generate_presigned_post(
                self.bucket, "up/${filename}", Conditions=conditions)["fields"]
            fields = {**signed, "x-amz-meta-a": "1", "success_action_status": "201"}
            for data in b"xy", os.urandom(1_000_000), b"\r\n--" * 1_000:
                status, document = self.post(fields, data, "a b.bin")
                self.assertEqual(status, 201, document)
                self.assertIn("<Key>up/a b.bin</Key>", document)
                got = self.s3.get_object(Bucket=self.bucket, Key="up/a b.bin")
                self.assertEqual((got["Body"].read(), got["Metadata"]), (data, {"a": "1"}))
            for changed, data, status, code in [
                ({"key": "down/x"}, b"xy", 403, "AccessDenied"),
                ({"x-amz-meta-a": "2"}, b"xy", 403, "AccessDenied"),
                ({"x-amz-meta-b": "1"}, b"xy", 403, "AccessDenied"),
                ({}, b"x", 400, "EntityTooSmall"),
                ({}, bytes(1_000_001), 400, "EntityTooLarge"),
                ({"policy": signed["policy"].replace("e", "f", 1)}, b"xy", 403, "SignatureDoesNotMatch"),
            ]:
                found, document = self.post({**fields, **changed}, data)
                self.assertEqual(found, status, document)
                self.assertIn(f"<Code>{code}</Code>", document)
        self.assertEqual(self.post({"key": "up/anonymous"}, b"xy")[0], 403)


class Objects(S3Case):
    def test_an_object_comes_back_with_its_metadata(self):
        names = ["plain", "with space", "ünïcode/日本", "a+b&c=d", "slash//twice", "trailing/", "%41", "*'()!~"]
        for name in names:
            put = self.s3.put_object(Bucket=self.bucket, Key=name, Body=name.encode(), ContentType="text/x",
                                     Metadata={"color": "blue"}, CacheControl="no-cache",
                                     ContentDisposition="attachment", ContentLanguage="de", ContentEncoding="x-none")
            self.assertEqual(put["ETag"], f'"{hashlib.md5(name.encode()).hexdigest()}"')
            got = self.s3.get_object(Bucket=self.bucket, Key=name)
            self.assertEqual(got["Body"].read(), name.encode())
            self.assertEqual(got["ContentType"], "text/x")
            self.assertEqual((got["CacheControl"], got["ContentDisposition"]), ("no-cache", "attachment"))
            self.assertEqual((got["ContentLanguage"], got["ContentEncoding"]), ("de", "x-none"))
            self.assertEqual(got["Metadata"]["color"], "blue")
        listed = self.s3.list_objects_v2(Bucket=self.bucket)
        self.assertEqual([entry["Key"] for entry in listed["Contents"]], sorted(names, key=str.encode))

    def test_default_checksums_are_kept(self):
        self.s3.put_object(Bucket=self.bucket, Key="k", Body=b"123456789")
        head = self.s3.head_object(Bucket=self.bucket, Key="k", ChecksumMode="ENABLED")
        self.assertEqual(head["ChecksumCRC32"], "y/Q5Jg==")
        for algorithm in ["CRC32", "CRC32C", "SHA1", "SHA256"]:
            try:
                put = self.s3.put_object(Bucket=self.bucket, Key=algorithm, Body=b"123456789",
                                         ChecksumAlgorithm=algorithm)
            except MissingDependencyException:  # CRC32C needs an optional package of the client's.
                continue
            self.assertIn(f"Checksum{algorithm}", put)
            self.s3.get_object(Bucket=self.bucket, Key=algorithm)["Body"].read()

    def test_ranges_and_conditions(self):
        etag = self.s3.put_object(Bucket=self.bucket, Key="k", Body=b"0123456789")["ETag"]
        got = self.s3.get_object(Bucket=self.bucket, Key="k", Range="bytes=2-4")
        self.assertEqual((got["Body"].read(), got["ContentRange"]), (b"234", "bytes 2-4/10"))
        self.fails("InvalidRange", 416, self.s3.get_object, Bucket=self.bucket, Key="k", Range="bytes=10-")
        self.fails("304", 304, self.s3.get_object, Bucket=self.bucket, Key="k", IfNoneMatch=etag)
        self.fails("PreconditionFailed", 412, self.s3.get_object, Bucket=self.bucket, Key="k", IfMatch='"x"')
        self.fails("PreconditionFailed", 412, self.s3.put_object, Bucket=self.bucket, Key="k", Body=b"", IfNoneMatch="*")
        self.s3.put_object(Bucket=self.bucket, Key="k", Body=b"new", IfMatch=etag)
        self.fails("NoSuchKey", 404, self.s3.get_object, Bucket=self.bucket, Key="none")
        self.fails("404", 404, self.s3.head_object, Bucket=self.bucket, Key="none")

    def test_of_many_creators_one_wins(self):
        def create(number):
            try:
                make_client().put_object(Bucket=self.bucket, Key="lock", Body=str(number).encode(), IfNoneMatch="*")
                return number
            except ClientError as error:
                self.assertEqual(error.response["Error"]["Code"], "PreconditionFailed")
                return None

        with concurrent.futures.ThreadPoolExecutor(8) as pool:
            winners = [number for number in pool.map(create, range(16)) if number is not None]
        self.assertEqual(len(winners), 1)
        self.assertEqual(self.s3.get_object(Bucket=self.bucket, Key="lock")["Body"].read(), str(winners[0]).encode())

    def test_copies(self):
        self.s3.put_object(Bucket=self.bucket, Key="from", Body=b"data", Metadata={"a": "1"}, Tagging="t=1")
        source = {"Bucket": self.bucket, "Key": "from"}
        self.s3.copy_object(Bucket=self.bucket, Key="to", CopySource=source)
        self.assertEqual(self.s3.head_object(Bucket=self.bucket, Key="to")["Metadata"], {"a": "1"})
        self.s3.copy_object(Bucket=self.bucket, Key="to", CopySource=source, MetadataDirective="REPLACE",
                            Metadata={"b": "2"}, TaggingDirective="REPLACE", Tagging="u=2")
        self.assertEqual(self.s3.head_object(Bucket=self.bucket, Key="to")["Metadata"], {"b": "2"})
        tags = self.s3.get_object_tagging(Bucket=self.bucket, Key="to")["TagSet"]
        self.assertEqual(tags, [{"Key": "u", "Value": "2"}])

    def test_attributes(self):
        self.s3.put_object(Bucket=self.bucket, Key="k", Body=b"123456789")
        got = self.s3.get_object_attributes(Bucket=self.bucket, Key="k",
                                            ObjectAttributes=["ETag", "Checksum", "ObjectSize", "StorageClass"])
        self.assertEqual((got["ObjectSize"], got["Checksum"]["ChecksumCRC32"]), (9, "y/Q5Jg=="))

    def test_presigned_urls(self):
        for version in ["s3v4", "s3"]:
            signer = make_client(signature_version=version)
            where = {"Bucket": self.bucket, "Key": f"signed {version}"}
            url = signer.generate_presigned_url("put_object", Params=where, ExpiresIn=60)
            urllib.request.urlopen(urllib.request.Request(url, data=b"by url", method="PUT",
                                                          headers={"Content-Type": ""})).close()
            url = signer.generate_presigned_url("get_object", Params=where, ExpiresIn=60)
            with urllib.request.urlopen(url) as answer:
                self.assertEqual(answer.read(), b"by url")
            with self.assertRaises(urllib.error.HTTPError) as caught:
                urllib.request.urlopen(url.replace(self.bucket, self.bucket + "x"))
            self.assertEqual(caught.exception.code, 403)


class Listings(S3Case):
    def test_pages_show_every_name_once(self):
        keys = [f"{top}/{number:03}" for top in "abc" for number in range(50)] + ["top", "with space & <xml>"]
        with concurrent.futures.ThreadPoolExecutor(8) as pool:
            list(pool.map(lambda key: self.s3.put_object(Bucket=self.bucket, Key=key, Body=b""), keys))
        for operation in ["list_objects", "list_objects_v2"]:
            pages = self.s3.get_paginator(operation).paginate(Bucket=self.bucket, PaginationConfig={"PageSize": 7})
            self.assertEqual([entry["Key"] for page in pages for entry in page["Contents"]], sorted(keys))
            pages = self.s3.get_paginator(operation).paginate(Bucket=self.bucket, Delimiter="/",
                                                              PaginationConfig={"PageSize": 2})
            found = [(page.get("Contents", []), page.get("CommonPrefixes", [])) for page in pages]
            self.assertEqual([entry["Prefix"] for _, prefixes in found for entry in prefixes], ["a/", "b/", "c/"])
            self.assertEqual([entry["Key"] for entries, _ in found for entry in entries], ["top", "with space & <xml>"])
        page = self.s3.list_objects_v2(Bucket=self.bucket, Prefix="b/", StartAfter="b/047", FetchOwner=True)
        self.assertEqual([entry["Key"] for entry in page["Contents"]], ["b/048", "b/049"])
        self.assertTrue(page["Contents"][0]["Owner"]["ID"])
        versions = self.s3.list_object_versions(Bucket=self.bucket, Prefix="b/", MaxKeys=1)
        self.assertEqual(versions["Versions"][0]["VersionId"], "null")

    def test_many_are_deleted_at_once(self):
        keys = [f"k{number}" for number in range(1000)]
        with concurrent.futures.ThreadPoolExecutor(8) as pool:
            list(pool.map(lambda key: self.s3.put_object(Bucket=self.bucket, Key=key, Body=b""), keys[:100]))
        answer = self.s3.delete_objects(Bucket=self.bucket, Delete={"Objects": [{"Key": key} for key in keys]})
        self.assertEqual(len(answer["Deleted"]), 1000)
        self.assertEqual(self.s3.list_objects_v2(Bucket=self.bucket)["KeyCount"], 0)


class Multipart(S3Case):
    def test_a_managed_upload_comes_back_whole(self):
        data = os.urandom(PART * 3 + 123)
        self.s3.upload_fileobj(io.BytesIO(data), self.bucket, "big",
                               Config=TransferConfig(multipart_threshold=PART, multipart_chunksize=PART),
                               ExtraArgs={"Metadata": {"a": "1"}})
        head = self.s3.head_object(Bucket=self.bucket, Key="big")
        self.assertTrue(head["ETag"].endswith('-4"'), head["ETag"])
        self.assertEqual((head["ContentLength"], head["Metadata"]), (len(data), {"a": "1"}))
        back = io.BytesIO()
        self.s3.download_fileobj(self.bucket, "big", back,
                                 Config=TransferConfig(multipart_threshold=PART, multipart_chunksize=PART + 7))
        self.assertEqual(hashlib.sha256(back.getvalue()).digest(), hashlib.sha256(data).digest())
        self.s3.copy({"Bucket": self.bucket, "Key": "big"}, self.bucket, "copy",
                     Config=TransferConfig(multipart_threshold=PART, multipart_chunksize=PART))
        self.assertEqual(self.s3.get_object(Bucket=self.bucket, Key="copy")["Body"].read(), data)

    def test_wrong_lists_are_refused(self):
        where = {"Bucket": self.bucket, "Key": "k"}
        upload = {**where, "UploadId": self.s3.create_multipart_upload(**where)["UploadId"]}
        etags = [self.s3.upload_part(**upload, PartNumber=number, Body=b"small")["ETag"] for number in (1, 2)]
        parts = [{"PartNumber": number, "ETag": etag} for number, etag in zip((1, 2), etags)]
        complete = self.s3.complete_multipart_upload
        self.fails("EntityTooSmall", 400, complete, **upload, MultipartUpload={"Parts": parts})
        self.fails("InvalidPartOrder", 400, complete, **upload, MultipartUpload={"Parts": parts[::-1]})
        missing = [{"PartNumber": 9, "ETag": etags[0]}]
        self.fails("InvalidPart", 400, complete, **upload, MultipartUpload={"Parts": missing})
        listed = self.s3.list_parts(**upload)["Parts"]
        self.assertEqual([part["PartNumber"] for part in listed], [1, 2])
        self.s3.abort_multipart_upload(**upload)
        self.fails("NoSuchUpload", 404, self.s3.list_parts, **upload)

    def test_checksums_of_the_whole(self):
        data = os.urandom(PART + 1)
        where = {"Bucket": self.bucket, "Key": "k"}
        begun = self.s3.create_multipart_upload(**where, ChecksumAlgorithm="CRC32", ChecksumType="FULL_OBJECT")
        upload = {**where, "UploadId": begun["UploadId"]}
        parts = []
        for number, chunk in enumerate((data[:PART], data[PART:]), 1):
            part = self.s3.upload_part(**upload, PartNumber=number, Body=chunk, ChecksumAlgorithm="CRC32")
            parts.append({"PartNumber": number, "ETag": part["ETag"], "ChecksumCRC32": part["ChecksumCRC32"]})
        done = self.s3.complete_multipart_upload(**upload, MultipartUpload={"Parts": parts})
        whole = self.s3.put_object(Bucket=self.bucket, Key="plain", Body=data)
        self.assertEqual(done["ChecksumCRC32"], whole["ChecksumCRC32"])


class Buckets(S3Case):
    def test_what_a_bucket_says_of_itself(self):
        self.assertIn(self.bucket, [bucket["Name"] for bucket in self.s3.list_buckets()["Buckets"]])
        self.s3.head_bucket(Bucket=self.bucket)
        self.s3.get_bucket_location(Bucket=self.bucket)
        self.assertNotIn("Status", self.s3.get_bucket_versioning(Bucket=self.bucket))
        self.fails("404", 404, self.s3.head_bucket, Bucket=self.bucket + "-none")
        self.fails("BucketAlreadyOwnedByYou", 409, self.s3.create_bucket, Bucket=self.bucket)
        self.fails("NoSuchBucketPolicy", 404, self.s3.get_bucket_policy, Bucket=self.bucket)
        self.fails("NotImplemented", 501, self.s3.put_bucket_request_payment, Bucket=self.bucket,
                   RequestPaymentConfiguration={"Payer": "Requester"})
        tags = {"TagSet": [{"Key": "a", "Value": "b"}]}
        self.s3.put_bucket_tagging(Bucket=self.bucket, Tagging=tags)
        self.assertEqual(self.s3.get_bucket_tagging(Bucket=self.bucket)["TagSet"], tags["TagSet"])
        self.s3.delete_bucket_tagging(Bucket=self.bucket)
        self.s3.put_object(Bucket=self.bucket, Key="k", Body=b"")
        self.fails("BucketNotEmpty", 409, self.s3.delete_bucket, Bucket=self.bucket)

    def test_settings_are_read_as_they_were_written(self):
        rule = {"ID": "old", "Status": "Enabled", "Filter": {"And": {"Prefix": "logs/", "ObjectSizeGreaterThan": 1}},
                "Expiration": {"Days": 30}, "NoncurrentVersionExpiration": {"NoncurrentDays": 1}}
        self.s3.put_bucket_lifecycle_configuration(Bucket=self.bucket, LifecycleConfiguration={"Rules": [rule]})
        self.assertEqual(self.s3.get_bucket_lifecycle_configuration(Bucket=self.bucket)["Rules"], [rule])
        put = self.s3.put_object(Bucket=self.bucket, Key="logs/1", Body=b"two")
        self.assertIn('rule-id="old"', put["Expiration"])
        self.assertEqual(self.s3.head_object(Bucket=self.bucket, Key="logs/1")["Expiration"], put["Expiration"])
        self.s3.delete_bucket_lifecycle(Bucket=self.bucket)
        self.fails("NoSuchLifecycleConfiguration", 404, self.s3.get_bucket_lifecycle_configuration, Bucket=self.bucket)
        site = {"IndexDocument": {"Suffix": "index.html"}, "ErrorDocument": {"Key": "error.html"},
                "RoutingRules": [{"Condition": {"KeyPrefixEquals": "a/"}, "Redirect": {"ReplaceKeyPrefixWith": "b/"}}]}
        self.s3.put_bucket_website(Bucket=self.bucket, WebsiteConfiguration=site)
        shown = self.s3.get_bucket_website(Bucket=self.bucket)
        self.assertEqual({name: shown[name] for name in site}, site)
        self.s3.delete_bucket_website(Bucket=self.bucket)
        other = self.bucket + "-logs"
        self.s3.create_bucket(Bucket=other)
        self.addCleanup(self.s3.delete_bucket, Bucket=other)
        enabled = {"TargetBucket": other, "TargetPrefix": "p/", "TargetObjectKeyFormat": {"SimplePrefix": {}}}
        self.s3.put_bucket_logging(Bucket=self.bucket, BucketLoggingStatus={"LoggingEnabled": enabled})
        self.assertEqual(self.s3.get_bucket_logging(Bucket=self.bucket)["LoggingEnabled"], enabled)
        self.s3.put_bucket_logging(Bucket=self.bucket, BucketLoggingStatus={})
        self.assertNotIn("LoggingEnabled", self.s3.get_bucket_logging(Bucket=self.bucket))

    def test_anonymous_callers_read_only_what_is_open(self):
        self.s3.put_object(Bucket=self.bucket, Key="k", Body=b"open")
        url = f"{os.environ['AWS_ENDPOINT_URL'].rstrip('/')}/{self.bucket}/k"
        with self.assertRaises(urllib.error.HTTPError) as caught:
            urllib.request.urlopen(url)
        self.assertEqual(caught.exception.code, 403)
        self.fails("AccessControlListNotSupported", 400, self.s3.put_object_acl, Bucket=self.bucket, Key="k",
                   ACL="public-read")
        controls = {"Rules": [{"ObjectOwnership": "ObjectWriter"}]}
        self.s3.put_bucket_ownership_controls(Bucket=self.bucket, OwnershipControls=controls)
        self.s3.put_object_acl(Bucket=self.bucket, Key="k", ACL="public-read")
        with urllib.request.urlopen(url) as answer:
            self.assertEqual(answer.read(), b"open")
        with self.assertRaises(urllib.error.HTTPError):
            urllib.request.urlopen(urllib.request.Request(url, data=b"", method="PUT"))
        grants = self.s3.get_object_acl(Bucket=self.bucket, Key="k")["Grants"]
        self.assertEqual(sorted(grant["Permission"] for grant in grants), ["FULL_CONTROL", "READ"])


if __name__ == "__main__":
    unittest.main()

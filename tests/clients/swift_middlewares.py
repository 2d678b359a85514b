"""What Swift's middlewares give the `swift` command and browsers, against the running server: capabilities, temporary
URLs, forms, bulk deletion and archives, segmented uploads, static sites, links.

The OS_* variables name an owner of an account.
"""

import hashlib
import hmac
import io
import json
import os
import pathlib
import subprocess
import sys
import tarfile
import tempfile
import time
import urllib.error
import urllib.parse
import urllib.request

CONTAINER = "middlewares"
KEY = "a key of the account"


def swift(*words, cwd=None):
    """The command's output; it may not complain."""
    program = pathlib.Path(sys.executable).with_name("swift")
    done = subprocess.run([program, *words], capture_output=True, text=True, cwd=cwd)
    assert done.returncode == 0, f"swift {' '.join(words)}\n{done.stdout}{done.stderr}"
    return done.stdout


def ask(method, url, headers=None, body=None):
    """Status, headers and body; redirections are not followed."""

    class Stay(urllib.request.HTTPRedirectHandler):
        def redirect_request(self, *_):
            return None

    request = urllib.request.Request(url, body, headers or {}, method=method)
    try:
        with urllib.request.build_opener(Stay).open(request) as answer:
            return answer.status, answer.headers, answer.read()
    except urllib.error.HTTPError as error:
        return error.code, error.headers, error.read()


def credentials():
    """The account's URL and a token."""
    lines = dict(line.removeprefix("export ").split("=", 1) for line in swift("auth").splitlines() if "=" in line)
    return lines["OS_STORAGE_URL"].strip("'"), lines["OS_AUTH_TOKEN"].strip("'")


def check_capabilities():
    told = json.loads(swift("capabilities", "--json"))
    wanted = {"bulk_delete", "bulk_upload", "tempurl", "formpost", "staticweb", "symlink", "slo", "versioned_writes",
              "object_versioning"}
    assert wanted <= set(told), wanted - set(told)


def check_uploads(work):
    (work / "large").write_bytes(os.urandom(5 << 20))
    names = [f"many/{number:03} ☃" for number in range(60)]
    for name in names:
        (work / name).parent.mkdir(exist_ok=True)
        (work / name).write_text(name)
    swift("upload", CONTAINER, "large", "--segment-size", str(1 << 20), "--use-slo", cwd=work)
    swift("upload", CONTAINER, "many", cwd=work)
    swift("download", CONTAINER, "large", "-o", "back", cwd=work)
    assert (work / "back").read_bytes() == (work / "large").read_bytes()
    assert "x-static-large-object: true" in swift("stat", CONTAINER, "large").lower()
    assert swift("list", CONTAINER, "--prefix", "many/").splitlines() == sorted(names)
    # By bulk deletion, as the server offers it.
    swift("delete", CONTAINER, "--prefix", "many/")
    assert swift("list", CONTAINER).split() == ["large"]


def check_temporary_urls(base):
    swift("post", "-m", f"Temp-URL-Key:{KEY}")
    path = urllib.parse.urlparse(base).path
    root = base.removesuffix(path)
    signed = swift("tempurl", "GET", "60", f"{path}/{CONTAINER}/large", KEY).strip()
    status, headers, body = ask("GET", root + signed)
    assert status == 200 and len(body) == 5 << 20, (status, len(body))
    assert headers["Content-Disposition"].startswith("attachment"), headers
    assert ask("GET", root + signed.replace("large", "other"))[0] == 401
    prefix = swift("tempurl", "--prefix-based", "--iso8601", "PUT", "60", f"{path}/{CONTAINER}/in/", KEY).strip()
    new = root + prefix.replace("/in/?", "/in/new?")
    assert ask("PUT", new, body=b"new")[0] == 201
    assert swift("download", CONTAINER, "in/new", "-o", "-") == "new"


def check_forms(base):
    path = urllib.parse.urlparse(base).path + f"/{CONTAINER}/form-"
    fields = {"redirect": "", "max_file_size": "100", "max_file_count": "1", "expires": str(int(time.time()) + 60)}
    text = "\n".join([path, *fields.values()])
    fields["signature"] = hmac.new(KEY.encode(), text.encode(), hashlib.sha256).hexdigest()
    parts = [f'--B\r\nContent-Disposition: form-data; name="{name}"\r\n\r\n{value}\r\n' for name, value in fields.items()]
    parts.append('--B\r\nContent-Disposition: form-data; name="f"; filename="a.txt"\r\n\r\nfrom a form\r\n--B--\r\n')
    headers = {"Content-Type": "multipart/form-data; boundary=B"}
    status, _, body = ask("POST", f"{base}/{CONTAINER}/form-", headers, "".join(parts).encode())
    assert status == 201, (status, body)
    assert swift("download", CONTAINER, "form-a.txt", "-o", "-") == "from a form"


def check_archives(base, token):
    for kind, mode in ("tar", "w"), ("tar.gz", "w:gz"), ("tar.bz2", "w:bz2"):
        packed = io.BytesIO()
        with tarfile.open(fileobj=packed, mode=mode, format=tarfile.PAX_FORMAT) as archive:
            member = tarfile.TarInfo(f"{kind}/{'long ' * 30}ü.txt")
            member.pax_headers = {"SCHILY.xattr.user.meta.kind": kind}
            member.size = 300_000
            archive.addfile(member, io.BytesIO(b"x" * member.size))
        headers = {"X-Auth-Token": token, "Accept": "application/json"}
        url = f"{base}/{CONTAINER}/unpacked?extract-archive={kind}"
        status, _, body = ask("PUT", url, headers, packed.getvalue())
        report = json.loads(body)
        assert (status, report["Number Files Created"], report["Errors"]) == (200, 1, []), report
        stat = swift("stat", CONTAINER, f"unpacked/{member.name}")
        assert f"Meta Kind: {kind}" in stat and "Content Length: 300000" in stat, stat


def check_sites(base, work):
    (work / "index.html").write_text("<title>home</title>")
    swift("post", "site", "-r", ".r:*,.rlistings", "-m", "web-index:index.html", "-m", "web-listings:true")
    swift("upload", "site", "index.html", "--object-name", "index.html", cwd=work)
    swift("upload", "site", "index.html", "--object-name", "files/a b.html", cwd=work)
    assert ask("GET", f"{base}/site")[:2][1]["Location"] == f"{base}/site/"
    status, headers, body = ask("GET", f"{base}/site/")
    assert (status, body) == (200, b"<title>home</title>") and headers["Content-Type"] == "text/html", headers
    status, _, body = ask("GET", f"{base}/site/files/")
    assert status == 200 and b'href="./a%20b%2Ehtml"' in body, body


def check_links():
    headers = ["-H", f"X-Symlink-Target: {CONTAINER}/in/new", "-H", "Content-Length: 0"]
    with tempfile.NamedTemporaryFile() as empty:
        swift("upload", CONTAINER, empty.name, "--object-name", "link", *headers)
    assert swift("download", CONTAINER, "link", "-o", "-") == "new"


def check_versions(work):
    container = f"{CONTAINER}_versions"
    swift("post", container, "-H", "X-Versions-Enabled: true")
    assert "Versions Enabled" in (stat := swift("stat", "-v", container)) or "X-Versions-Enabled" in stat, stat
    for text in "old", "new":
        (work / "versioned").write_text(text)
        swift("upload", container, work / "versioned", "--object-name", "a")
    swift("delete", container, "a")
    lines = [line.split() for line in swift("list", container, "--versions").splitlines()]
    versions = [(line[3], line[-1]) for line in lines if line[-1] == "a"]
    assert len(versions) == 3, lines
    assert swift("download", container, "a", "-o", "-", "--version-id", versions[2][0]) == "old"
    swift("delete", container, "a", "--version-id", versions[0][0])
    swift("delete", container, "--versions")
    assert container not in swift("list").split()


def main():
    base, token = credentials()
    with tempfile.TemporaryDirectory() as work:
        work = pathlib.Path(work)
        check_capabilities()
        check_uploads(work)
        check_temporary_urls(base)
        check_forms(base)
        check_archives(base, token)
        check_sites(base, work)
        check_links()
        check_versions(work)
    for container in CONTAINER, f"{CONTAINER}_segments", "site":
        swift("delete", container)
    swift("post", "-m", "Temp-URL-Key:")


main()

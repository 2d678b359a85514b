"""The command-line clients that people have, against the running server of `./dev test`.

ANELLO_TEST_DATA is the server's first data directory, whose credentials are used; ANELLO_TEST_PROGRAM is `anello`; OS_*
and AWS_* are set.
The checks themselves are programs of their own, so that they also run by hand against any server.
"""

import os
import pathlib
import random
import subprocess
import sys

import pytest

HERE = pathlib.Path(__file__).parent
# What ./dev installs for sure.
CLIENTS = ["aws1", "boto3", "rclone", "s3cmd", "swift", "openstack"]
# What comes from Debian where somebody has installed it, and what it needs there.
OTHERS = {"aws2": ["/usr/bin/aws"], "restic": ["/usr/bin/restic"], "s3fs": ["/usr/bin/s3fs", "/dev/fuse"]}


def run(*words):
    done = subprocess.run([sys.executable, *map(str, words)], capture_output=True, text=True)
    assert done.returncode == 0, done.stdout[-3000:] + done.stderr[-3000:]


@pytest.fixture(scope="module")
def tree(tmp_path_factory):
    """Files with the names and sizes on which clients stumble."""
    tree = tmp_path_factory.mktemp("tree")
    sizes = {"empty": 0, "one": 1, "block": 65536, "inline-and-one": 256 * 1024 + 1, "multipart": 18 * 1024 * 1024}
    names = {**sizes, "with space and ünïcode/日本 語.txt": 300, "plus+percent%25&amp;/a=b;c,d": 500}
    names.update({f"many/{number:03}": number * 97 for number in range(40)})
    content = random.Random(1)
    for name, size in names.items():
        (tree / name).parent.mkdir(parents=True, exist_ok=True)
        (tree / name).write_bytes(content.randbytes(size))
    return tree


@pytest.mark.parametrize("client", [*CLIENTS, *OTHERS])
def test_a_tree_comes_back_byte_for_byte(client, tree):
    if not all(os.access(path, os.R_OK) for path in OTHERS.get(client, [])):
        pytest.skip(f"{client} is not here")
    run(HERE / "tree.py", "--data", os.environ["ANELLO_TEST_DATA"], "--tree", tree, "--clients", client)


def test_the_openstack_command_manages_identity():
    run(HERE / "identity" / "openstack.py")


def test_attacks_on_identity_get_the_answers_of_the_table():
    run(HERE / "identity" / "attacks")


def test_a_key_of_the_openstack_command_signs_for_boto3_and_aws():
    run(HERE / "identity" / "keys.py")


def test_clients_use_a_store_whose_identity_is_another_hosts():
    run(HERE / "identity" / "elsewhere.py", os.environ["ANELLO_TEST_PROGRAM"])


def test_swift_recon_understands_what_a_host_says_of_itself():
    run(HERE / "recon.py")


def test_the_swift_command_and_browsers_use_middlewares():
    run(HERE / "swift_middlewares.py")

"""A store in buckets: against moto's server, which a test starts, with the same steps as on any other URL."""

from __future__ import annotations

import uuid
from collections import Counter
from collections.abc import Iterator
from itertools import zip_longest

import fsspec
import pytest

from limbeck.errors import StoreError
from limbeck.teachers.store import label, open_store, pull, push, remote_names
from limbeck.teachers.store.format import targets_home

pytestmark = pytest.mark.long
BATCH, SHARD = 4, 12


@pytest.fixture(scope="module")
def endpoint() -> Iterator[str]:
    """An object store on this machine."""
    from moto.moto_server.threaded_moto_server import ThreadedMotoServer

    server = ThreadedMotoServer(ip_address="127.0.0.1", port=0, verbose=False)
    server.start()
    host, port = server.get_host_and_port()
    yield f"http://{host}:{port}"
    server.stop()


@pytest.fixture
def bucket(endpoint: str, monkeypatch: pytest.MonkeyPatch) -> Iterator[str]:
    """A bucket of the test's own."""
    settings = {
        "AWS_ENDPOINT_URL": endpoint,
        "AWS_ACCESS_KEY_ID": "test",
        "AWS_SECRET_ACCESS_KEY": "test",
        "AWS_DEFAULT_REGION": "us-east-1",
    }
    for name, value in settings.items():
        monkeypatch.setenv(name, value)
    fsspec.get_filesystem_class("s3").clear_instance_cache()
    name = f"limbeck-{uuid.uuid4().hex}"
    fsspec.filesystem("s3").mkdir(name)
    yield f"s3://{name}"
    fsspec.get_filesystem_class("s3").clear_instance_cache()


def test_a_store_is_labelled_by_two_machines_pushed_pulled_and_repaired(
    bucket, teacher, pool, preprocessing, key, fill, tmp_path
):
    url = f"{bucket}/shared/targets"
    machines = [tmp_path / "one", tmp_path / "two"]
    given = {"batch_examples": BATCH, "shard_records": SHARD, "url": url}
    work = [label(teacher, pool, preprocessing, key, cache=machine, **given) for machine in machines]
    list(zip_longest(*work))
    assert max(Counter(teacher.asked).values()) <= 2
    assert remote_names(url) == [key.digest]
    expected = fill(key).folder.answers.read_bytes()
    for place in (*machines, tmp_path / "third"):
        list(pull(url, key.digest, cache=place))
        assert open_store(key, cache=place).folder.answers.read_bytes() == expected
    files = fsspec.filesystem("s3")
    shard = f"{url}/{key.digest}/shard-00001.bin"
    files.pipe_file(shard, files.cat_file(shard)[:-1])
    with pytest.raises(StoreError, match=r"\(shard 1\)"):
        list(pull(url, key.digest, cache=tmp_path / "fourth"))
    assert list(push(targets_home() / key.digest, url)) == [(4, 5), (5, 5)]
    list(pull(url, key.digest, cache=tmp_path / "fourth"))


def test_a_bucket_that_is_not_there_is_said_and_not_made(bucket, key, fill, tmp_path):
    path = fill(key).folder.path
    nowhere = f"{bucket}-nowhere"
    with pytest.raises(StoreError, match=r"failed: .*Check the address, its bucket, the credentials"):
        list(push(path, f"{nowhere}/targets"))
    assert not fsspec.filesystem("s3").exists(nowhere)
    with pytest.raises(StoreError, match="holds no target store"):
        list(pull(nowhere, key.digest, cache=tmp_path))


def test_an_object_store_that_does_not_answer_is_said(bucket, key, fill, monkeypatch):
    monkeypatch.setenv("AWS_ENDPOINT_URL", "http://127.0.0.1:9")
    monkeypatch.setenv("AWS_MAX_ATTEMPTS", "1")
    fsspec.get_filesystem_class("s3").clear_instance_cache()
    with pytest.raises(StoreError, match=r"s3://.* failed: .*credentials and the network"):
        list(push(fill(key).folder.path, bucket))

"""Stores on URLs: the same bytes after a detour, what is there is not asked for, and damage is never taken over."""

from __future__ import annotations

import json
import os
import shutil
import uuid
from collections import Counter
from itertools import zip_longest
from pathlib import Path

import fsspec
import pytest

from limbeck.errors import MissingExtraError, StoreError, UserError
from limbeck.teachers.store import label, open_store, pull, push, remote, remote_names, store_key
from limbeck.teachers.store.format import targets_home
from limbeck.teachers.store.remote import Remote

SAMPLES, BATCH, SHARD = 50, 4, 12
SHARDS = 5


@pytest.fixture(params=["memory", "file"])
def url(request, tmp_path):
    if request.param == "file":
        return f"file://{tmp_path}/share/targets"
    return f"memory://{uuid.uuid4().hex}/targets"


@pytest.fixture
def there(url, key):
    """The files of the store on the URL, as a mapping that can be written."""
    return fsspec.get_mapper(f"{url}/{key.digest}")


@pytest.fixture
def labeller(teacher, pool, preprocessing, key, url):
    def begun(**changes):
        given = {"url": url} | changes
        return label(teacher, pool, preprocessing, key, batch_examples=BATCH, shard_records=SHARD, **given)

    return begun


def whole(folder: Path) -> dict[str, bytes]:
    return {file.name: file.read_bytes() for file in folder.iterdir()}


def test_a_labelled_store_lies_on_the_url_shard_by_shard_and_comes_back_the_same(
    labeller, there, key, url, tmp_path
):
    list(labeller())
    shards = {f"shard-{number:05}.{kind}" for number in range(SHARDS) for kind in ("bin", "json")}
    assert set(there) == {"manifest.json", "ids.bin", *shards}
    assert remote_names(url) == [key.digest]
    assert list(pull(url, key.digest, cache=tmp_path))[-1] == (SHARDS, SHARDS)
    assert whole(open_store(key, cache=tmp_path).folder.path) == whole(open_store(key).folder.path)


def test_another_machine_asks_nothing_that_is_there(teacher, labeller, there, tmp_path):
    list(labeller())
    del there["shard-00003.json"]
    teacher.asked.clear()
    last = list(labeller(cache=tmp_path))[-1]
    assert (last.done, last.asked, len(teacher.asked)) == (SAMPLES, SHARD, SHARD)
    assert "shard-00003.json" in there


def test_two_machines_share_the_asking(teacher, labeller, key, fill, tmp_path, monkeypatch):
    machines = [tmp_path / "one", tmp_path / "two"]
    places = iter([0, 3])
    monkeypatch.setattr(remote.secrets, "randbelow", lambda _: next(places))
    list(zip_longest(*(labeller(cache=machine) for machine in machines)))
    assert max(Counter(teacher.asked).values()) <= 2
    assert len(teacher.asked) < 2 * SAMPLES
    answers = [whole(open_store(key, cache=machine).folder.path)["answers.bin"] for machine in machines]
    assert answers == [whole(fill(key).folder.path)["answers.bin"]] * 2


def test_a_complete_store_is_pushed_by_labelling_with_a_url_and_nothing_is_asked(
    teacher, key, fill, labeller, there
):
    fill(key)
    teacher.asked.clear()
    list(labeller())
    assert len(there) == 2 + 2 * SHARDS
    assert not teacher.asked


def test_a_push_that_was_cut_short_goes_on_with_what_is_lacking(key, fill, url, there, monkeypatch):
    path = fill(key).folder.path
    sent: list[int] = []
    real = Remote.push

    def counted(self, folder, note):
        sent.append(note.number)
        real(self, folder, note)

    monkeypatch.setattr(Remote, "push", counted)
    half = push(path, url)
    assert [next(half) for _ in range(3)] == [(0, 5), (1, 5), (2, 5)]
    half.close()
    there["shard-00001.bin"] = there["shard-00001.bin"][:-1]  # half an upload, where those are not atomic
    assert list(push(path, url)) == [(1, 5), (2, 5), (3, 5), (4, 5), (5, 5)]
    assert sent == [0, 1, 1, 2, 3, 4]


def test_a_pull_that_was_cut_short_goes_on(key, fill, url, tmp_path, there):
    list(push(fill(key).folder.path, url))
    begun = pull(url, key.digest, cache=tmp_path)
    assert [next(begun)[0] for _ in range(3)] == [0, 1, 2]
    begun.close()
    for name in ("shard-00000.bin", "shard-00001.bin"):
        there[name] = b"gone bad meanwhile"
    assert next(pull(url, key.digest, cache=tmp_path))[0] == 2
    list(pull(url, key.digest, cache=tmp_path))
    assert len(open_store(key, cache=tmp_path)) == SAMPLES


@pytest.mark.parametrize("harm", ["flipped", "truncated", "note", "foreign", "absent"])
def test_a_damaged_shard_is_not_taken_over_and_labelling_repairs_it(
    harm, teacher, labeller, key, url, there, tmp_path
):
    list(labeller())
    name, data = "shard-00002.bin", there["shard-00002.bin"]
    match harm:
        case "flipped":
            there[name] = data[:-1] + bytes([data[-1] ^ 1])
        case "truncated":
            there[name] = data[:-1]
        case "note":
            there["shard-00002.json"] = b"{"
        case "foreign":
            there["shard-00002.json"] = json.dumps(
                json.loads(there["shard-00002.json"]) | {"store": "0" * 16}
            ).encode()
        case "absent":
            del there[name]
    with pytest.raises(StoreError, match=rf"{key.digest} is incomplete: 1 of 5 .*\(shard 2\).*limbeck label"):
        list(pull(url, key.digest, cache=tmp_path))
    teacher.asked.clear()
    list(labeller(cache=tmp_path))
    assert len(teacher.asked) == SHARD
    assert there[name] == data
    list(pull(url, key.digest, cache=tmp_path / "another"))


def test_a_damaged_store_is_not_pushed(key, fill, url, there):
    folder = fill(key).folder
    os.truncate(folder.answers, 300)
    with pytest.raises(StoreError, match="is damaged, so it is not pushed"):
        list(push(folder.path, url))
    assert not list(there)


@pytest.mark.parametrize(
    ("file", "content", "words"),
    [
        ("manifest.json", b"{", "manifest.json is damaged"),
        ("manifest.json", b'{"format": 99}', "has format 99"),
        ("ids.bin", b"", "the checksum of ids.bin differs"),
    ],
)
def test_a_damaged_head_is_named_with_the_url(file, content, words, labeller, key, url, there, tmp_path):
    list(labeller())
    there[file] = content
    for work in (pull(url, key.digest, cache=tmp_path), labeller(cache=tmp_path)):
        with pytest.raises(StoreError, match=words) as caught:
            list(work)
        assert f"{url}/{key.digest}" in str(caught.value)


def test_other_divisions_into_shards_are_told_apart(
    teacher, pool, preprocessing, key, labeller, url, tmp_path
):
    list(labeller())
    other = label(
        teacher, pool, preprocessing, key, batch_examples=BATCH, shard_records=2 * BATCH, cache=tmp_path
    )
    list(other)
    with pytest.raises(StoreError, match=r"differs from the store .* in shard_records: 12 there, 8 here"):
        list(push(tmp_path / "targets" / key.digest, url))


def test_another_store_under_its_name_and_none_at_all_are_refused(
    labeller, teacher, pool, preprocessing, url, key, tmp_path
):
    list(labeller())
    with pytest.raises(StoreError, match="holds no target store"):
        list(pull(url, "0" * 16, cache=tmp_path))
    halves = store_key(teacher, pool, preprocessing)
    files, root = fsspec.core.url_to_fs(url)
    for file in files.ls(f"{root}/{key.digest}", detail=False):
        files.makedirs(f"{root}/{halves.digest}", exist_ok=True)
        files.pipe_file(f"{root}/{halves.digest}/{Path(file).name}", files.cat_file(file))
    for _ in range(2):
        with pytest.raises(StoreError, match=f"holds another store, {key.digest}"):
            list(pull(url, halves.digest, cache=tmp_path))
    assert remote_names(f"{url}/nowhere") == []


def test_urls_that_cannot_be_opened_are_the_users_mistake(monkeypatch):
    with pytest.raises(UserError, match=r"'/data/targets' is no URL: expected one such as"):
        Remote("/data/targets", "x")
    with pytest.raises(UserError, match="Protocol not known: nowhere"):
        Remote("nowhere://x", "x")

    def absent(_):
        raise ImportError("Install s3fs to access S3")

    monkeypatch.setattr(remote, "url_to_fs", absent)
    with pytest.raises(MissingExtraError, match=r"s3:// URLs is not installed.*limbeck\[cloud\]"):
        Remote("s3://bucket", "x")


def test_whatever_a_file_system_raises_names_the_url_and_nothing_here_is_lost(
    labeller, teacher, key, url, monkeypatch
):
    files, _ = fsspec.core.url_to_fs(url)
    monkeypatch.setattr(remote.secrets, "randbelow", lambda _: 0)
    working = labeller()
    for _ in range(5):
        next(working)

    def down(*_, **__):
        raise ConnectionError("no route to host")

    with monkeypatch.context() as patch:
        patch.setattr(type(files), "pipe_file", down)
        with pytest.raises(
            StoreError, match=r"failed: ConnectionError: no route.*run the same command again"
        ):
            list(working)
    asked = len(teacher.asked)
    list(labeller())
    assert len(teacher.asked) == SAMPLES
    assert asked == 2 * SHARD
    shutil.rmtree(targets_home() / key.digest)
    list(pull(url, key.digest))

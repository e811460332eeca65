"""A store on a URL: the same files as in a folder that is being filled, so that machines can share the asking.

The manifest, the ids, and each shard in a file of its own with its note; never all answers in one file, which every
machine makes for itself.
No file changes once it is there, so two machines that do the same shard write the same bytes.
"""

from __future__ import annotations

import hashlib
import json
import secrets
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any, Final

from fsspec import AbstractFileSystem
from fsspec.core import url_to_fs

from limbeck.errors import LimbeckError, MissingExtraError, StoreError, UserError
from limbeck.files import write_bytes
from limbeck.teachers.store.format import Manifest, Note, StoreFolder, checksum, shard_name
from limbeck.teachers.store.key import FORMAT
from limbeck.teachers.store.writer import keep_shard

_BUCKETS: Final = {"s3", "s3a", "gs", "gcs", "abfs", "abfss", "az"}
"""Protocols without folders, where making one could make a bucket that nobody asked for."""

_SHARED: Final = ("format", "key", "records", "shard_records", "ids_sha256")
"""The parts of a manifest in which two machines must agree."""


class Remote:
    """The place of one store on a URL.

    Args:
        url: Anything that fsspec opens: ``s3://bucket/folder``, ``file:///share/targets``, ``memory://x``.
        name: The store's name, the digest of its key.

    Raises:
        UserError: If the URL's protocol is not known.
        MissingExtraError: If the package for the protocol is not installed.
    """

    def __init__(self, url: str, name: str) -> None:
        self._files, root = opened(url)
        self.url = f"{url.rstrip('/')}/{name}"
        self._root = f"{root.rstrip('/')}/{name}"
        self.place = secrets.randbelow(1 << 16)
        """Where this process begins among what is left, so that machines seldom do the same shard."""

    def fetch_head(self, path: Path) -> bool:
        """Bring manifest and ids into a folder that has none.

        Returns:
            Whether there are any.

        Raises:
            StoreError: If the manifest is damaged, or of another format.
        """
        manifest, ids = self._manifest(), self._get("ids.bin")
        if manifest is None or ids is None:
            return False
        if hashlib.sha256(ids).hexdigest() != manifest.ids_sha256:
            raise StoreError(
                f"{self.url} is corrupt: the checksum of ids.bin differs from the manifest's. {self._cure()}"
            )
        write_bytes(path / "ids.bin", ids)
        write_bytes(path / "manifest.json", manifest.model_dump_json(indent=2).encode() + b"\n")
        return True

    def push_head(self, folder: StoreFolder) -> None:
        """Put manifest and ids there, if there are none.

        Raises:
            StoreError: If there are others, or the place cannot be written.
        """
        there = self._manifest()
        if there is None:
            self._put("ids.bin", folder.ids.read_bytes())
            self._put("manifest.json", (folder.path / "manifest.json").read_bytes())
            return
        differing = [name for name in _SHARED if getattr(there, name) != getattr(folder.manifest, name)]
        if differing:
            held, ours = ([str(getattr(one, name)) for name in differing] for one in (there, folder.manifest))
            raise StoreError(
                f"{self.url} differs from the store {folder.path} in {', '.join(differing)}: {', '.join(held)} "
                f"there, {', '.join(ours)} here. Remove the one here with `limbeck targets remove "
                f"{folder.path.name}` and label again: it goes on from what is there."
            )

    def fetch(self, folder: StoreFolder, number: int) -> bool:
        """Bring one shard, if it is there and unharmed; its claim must be ours.

        Returns:
            Whether it is in the folder now.
        """
        text = self._get(_note(number))
        note = None if text is None else folder.accepted(text)
        data = None if note is None else self._get(_answers(number))
        if note is None or note.number != number or data is None or checksum(data) != note.xxh3:
            return False
        keep_shard(folder, data, note)
        return True

    def push(self, folder: StoreFolder, note: Note) -> None:
        """Put one shard there, and then its note.

        Raises:
            StoreError: If the place cannot be written; what is here stays.
        """
        self._put(_answers(note.number), folder.answers_of(note.number))
        self._put(_note(note.number), note.model_dump_json().encode())

    def lacking(self, folder: StoreFolder) -> list[int]:
        """The shards that are not there, or not as long as they should be. Checksums are not compared."""
        sizes = self._sizes()
        return [
            number
            for number in folder.shards
            if _note(number) not in sizes or sizes.get(_answers(number)) != folder.place(number)[1]
        ]

    def _manifest(self) -> Manifest | None:
        text = self._get("manifest.json")
        if text is None:
            return None
        value = _parsed(text)
        found = value.get("format") if isinstance(value, dict) else None
        if isinstance(found, int) and found != FORMAT:
            raise StoreError(
                f"{self.url} has format {found}, and this Limbeck reads format {FORMAT}. Use the Limbeck that wrote "
                "it, or another URL."
            )
        try:
            return Manifest.model_validate(value)
        except ValueError as error:
            raise StoreError(f"{self.url}/manifest.json is damaged. {self._cure()}") from error

    def _cure(self) -> str:
        return "Delete that file, then push the store again from a machine that has it, or label again."

    def _get(self, name: str) -> bytes | None:
        with remote_errors(self.url):
            try:
                return bytes(self._files.cat_file(f"{self._root}/{name}"))
            except FileNotFoundError:
                return None

    def _put(self, name: str, data: bytes) -> None:
        with remote_errors(self.url):
            if not _BUCKETS.intersection(_protocols(self._files)):
                self._files.makedirs(self._root, exist_ok=True)
            self._files.pipe_file(f"{self._root}/{name}", data)

    def _sizes(self) -> dict[str, int]:
        with remote_errors(self.url):
            self._files.invalidate_cache()
            try:
                found = self._files.ls(self._root, detail=True)
            except FileNotFoundError:
                return {}
            return {entry["name"].rstrip("/").rsplit("/", 1)[-1]: int(entry["size"] or 0) for entry in found}


def remote_names(url: str) -> list[str]:
    """The names of the stores on a URL.

    Raises:
        StoreError: If it cannot be reached.
    """
    files, root = opened(url)
    with remote_errors(url):
        files.invalidate_cache()
        try:
            found = files.ls(root, detail=False)
        except FileNotFoundError:
            return []
    return sorted(str(path).rstrip("/").rsplit("/", 1)[-1] for path in found)


def opened(url: str) -> tuple[AbstractFileSystem, str]:
    """A URL's file system, and the path in it.

    Raises:
        UserError: If the protocol is not known, or the URL names none.
        MissingExtraError: If its package is not installed.
    """
    if "://" not in url:
        raise UserError(
            f"{url!r} is no URL: expected one such as s3://bucket/folder or file:///share/folder."
        )
    try:
        files, root = url_to_fs(url)
    except ImportError as error:
        raise MissingExtraError(f"The package that opens {url.split(':', 1)[0]}:// URLs", "cloud") from error
    except ValueError as error:
        raise UserError(f"{url!r} cannot be opened: {error}. Give a URL that fsspec knows.") from error
    return files, root


@contextmanager
def remote_errors(url: str) -> Iterator[None]:
    """Turn whatever a file system raises into one error that names the URL and the cure."""
    try:
        yield
    except LimbeckError:
        raise
    except Exception as error:  # each file system raises errors of its own library
        text = " ".join(str(error).split()) or "no reason given"
        raise StoreError(
            f"{url} failed: {type(error).__name__}: {text}. Check the address, its bucket, the credentials and the "
            "network, then run the same command again: what is kept on either side stays."
        ) from error


def _answers(number: int) -> str:
    return f"{shard_name(number)}.bin"


def _note(number: int) -> str:
    return f"{shard_name(number)}.json"


def _parsed(text: bytes) -> Any:
    try:
        return json.loads(text)
    except ValueError:
        return None


def _protocols(files: AbstractFileSystem) -> set[str]:
    return {files.protocol} if isinstance(files.protocol, str) else set(files.protocol)

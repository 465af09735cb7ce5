"""A bucket of S3, or of anything that speaks its language, as storage."""

from __future__ import annotations

import io
import os
import secrets
from collections.abc import Iterator, Mapping
from contextlib import contextmanager, suppress
from datetime import UTC, datetime
from email.utils import parsedate_to_datetime
from pathlib import Path
from typing import Any, BinaryIO, cast

from jobs.errors import StorageUnavailable
from storage import address
from storage.advice import code_of, missing_bucket
from storage.remote import Remote
from storage.trouble import named

PART = 8 << 20
"""Bytes of one part of an upload or download, and of what a stream reads ahead; above twice that, it goes in parts."""

AT_ONCE = 4
"""Parts of one file on their way at once: 32 MiB of memory for a file of any size."""

STALE_S = 24 * 3600.0
"""Age after which an unfinished upload in parts belongs to no process that still runs."""

SKEW_S = 300.0
"""Seconds by which our clock may differ from the store's; signatures are refused from fifteen minutes on."""


class S3(Remote):
    """What s3fs offers, without its listings (each look asks the store) and with bounded waits.

    Nothing here can overwrite another's work: a blob's name is its hash, an attempt's names begin with its fence. What
    is written once (checkpoints) is created with `If-None-Match: *` besides, where the store knows that.
    """

    def __init__(self, url: str, cache: Path | None) -> None:
        """Connects with the first request. Raises `StorageUnavailable` for a URL that cannot be."""
        self._bucket = address.bucket(url)
        self._conditional = True
        super().__init__(url, cache)

    def _connected(self) -> tuple[Any, str]:
        try:
            from storage.bounded import Bounded
        except ImportError:
            raise StorageUnavailable("Storage on S3 needs its packages: `pip install medjobs[s3]`.") from None
        system = Bounded(
            skip_instance_cache=True,
            use_listings_cache=False,
            default_block_size=PART,
            max_concurrency=AT_ONCE,
            **self._bucket.options,
        )
        system.retries = address.TRIES
        return system, "/".join(part for part in (self._bucket.name, self._bucket.prefix) if part)

    @contextmanager
    def _asking(self) -> Iterator[None]:
        """As `named`, and a bucket that is gone is a failure: it must not look like files that are gone."""
        with named(self.place):
            try:
                yield
            except FileNotFoundError as error:
                if code_of(error) != "NoSuchBucket":
                    with suppress(PermissionError):
                        self._stand()
                    raise
                raise missing_bucket(self.place) from error

    def _stand(self) -> None:
        try:
            self._fs.call_s3("head_bucket", Bucket=self._bucket.name)
        except FileNotFoundError as error:
            raise missing_bucket(self.place) from error

    def _key(self, path: str) -> dict[str, str]:
        return {"Bucket": self._bucket.name, "Key": self._full(path).partition("/")[2]}

    def _head(self, path: str) -> dict[str, Any]:
        return cast(dict[str, Any], self._fs.call_s3("head_object", **self._key(path)))

    def exists(self, path: str) -> bool:
        """Whether the object is there: one request, no listing."""
        try:
            with self._asking():
                self._head(path)
        except FileNotFoundError:
            return False
        return True

    def open(self, path: str) -> BinaryIO:
        """Read an object in ranges, ahead of the reader; raises FileNotFoundError."""
        with self._asking():
            size = int(self._head(path)["ContentLength"])
            return cast(BinaryIO, self._fs.open(self._full(path), "rb", block_size=PART, size=size))

    def _age(self, path: str) -> float:
        """Seconds since it was written, both by the store's clock."""
        found = self._head(path)
        return float((_now(found) - found["LastModified"]).total_seconds())

    def write_many(self, files: Mapping[str, bytes | Path]) -> None:
        """Upload many files, large ones in parts."""
        with self._asking():
            small = {self._full(path): body for path, body in files.items() if isinstance(body, bytes)}
            if small:
                self._fs.pipe(small, chunksize=PART)
            for path, content in files.items():
                if isinstance(content, Path):
                    self._upload(path, content)

    def create_many(self, files: Mapping[str, bytes | Path]) -> None:
        """Upload many that are written once: other bytes that lie there already are left alone.

        Under one fence there is one attempt, so that the same bytes are those of a try whose answer was lost. Other
        bytes come from a second process that acts for the same attempt: this one gets `StorageUnavailable`.
        """
        with self._asking():
            for path, content in files.items():
                if not (self._conditional and self._created(path, content)):
                    self._upload(path, content)

    def _upload(self, path: str, content: bytes | Path, **how: Any) -> None:
        if isinstance(content, bytes):
            self._fs.pipe_file(self._full(path), content, chunksize=PART, **how)
        else:
            self._fs.put_file(str(content), self._full(path), chunksize=PART, **how)

    def _created(self, path: str, content: bytes | Path) -> bool:
        """False where the store does not know conditional writes."""
        try:
            self._upload(path, content, mode="create")
        except OSError as error:
            code = code_of(error)
            if code in {"NotImplemented", "501"}:
                self._conditional = False
                return False
            if code not in {"PreconditionFailed", "412", "ConditionalRequestConflict", "409"}:
                raise
            if not self._same(path, content):
                raise StorageUnavailable(
                    f"Another process has written {path} already, with other bytes; it is left alone."
                ) from error
        return True

    def _same(self, path: str, content: bytes | Path) -> bool:
        try:
            with (
                self.open(path) as there,
                io.BytesIO(content) if isinstance(content, bytes) else content.open("rb") as ours,
            ):
                while piece := ours.read(1 << 20):
                    if there.read(len(piece)) != piece:
                        return False
                return there.read(1) == b""
        except FileNotFoundError:
            return False

    def _entries(self, path: str, kind: str) -> list[str]:
        """One request for a thousand names; s3fs would ask twice more where there are none."""
        where = {"Bucket": self._bucket.name, "Prefix": self._key(path)["Key"] + "/", "Delimiter": "/"}
        names: list[str] = []
        more: dict[str, str] | None = {}
        while more is not None:
            with self._asking():
                found = self._fs.call_s3("list_objects_v2", **where, **more)
            listed = found.get("CommonPrefixes", ()) if kind == "directory" else found.get("Contents", ())
            names += [str(one["Prefix" if kind == "directory" else "Key"]) for one in listed]
            more = {"ContinuationToken": found["NextContinuationToken"]} if found.get("IsTruncated") else None
        return sorted(name.rstrip("/").rpartition("/")[2] for name in names if name != where["Prefix"])

    def check(self, thorough: bool = False) -> str:
        """Write, read and delete a small object, and list where `thorough`; raises `StorageUnavailable` saying which
        of them failed, and why. What the store is, in words."""
        path, content = f"tmp/{secrets.token_hex(8)}.check", os.urandom(8)
        with self._step("write (s3:PutObject)"):
            self._upload(path, content)
        with self._step("read (s3:GetObject)"):
            found = self._head(path)
            if self._fs.cat_file(self._full(path)) != content:
                raise StorageUnavailable(f"The storage at {self.place} gave back other bytes than were written.")
        if thorough:
            with self._step("list (s3:ListBucket)"):
                self._fs.ls(self._full("tmp"), refresh=True)
        with self._step("delete (s3:DeleteObject)"):
            self._fs.rm_file(self._full(path))
        skew = (datetime.now(UTC) - _now(found)).total_seconds()
        if abs(skew) > SKEW_S:
            raise StorageUnavailable(
                f"The clock of this host is {abs(skew):.0f} s {'ahead of' if skew > 0 else 'behind'} that of "
                f"{self.place}; set it by NTP: from 900 s on every request is refused."
            )
        return self._described(found)

    def _described(self, found: Mapping[str, Any]) -> str:
        endpoint = str(self._fs.s3.meta.endpoint_url)
        encrypted = found.get("ServerSideEncryption") or "not said"
        return f"{self.place} at {address.shown(endpoint)}, encryption at rest: {encrypted}"

    @contextmanager
    def _step(self, what: str) -> Iterator[None]:
        try:
            with self._asking():
                yield
        except FileNotFoundError as error:
            raise StorageUnavailable(f"The storage at {self.place} lost what was written a moment ago.") from error
        except StorageUnavailable as error:
            raise StorageUnavailable(f"Cannot {what}. {error.detail}") from error

    def clean(self) -> int:
        """Abort uploads in parts that a process left unfinished a day ago; how many.

        The store's own lifecycle rule does it as well (docs/operations.md), so that a missing right is no failure.
        """
        gone = 0
        with self._asking():
            try:
                found = self._fs.call_s3(
                    "list_multipart_uploads", Bucket=self._bucket.name, Prefix=self._full("").partition("/")[2]
                )
                for one in found.get("Uploads", ()):
                    if (_now(found) - one["Initiated"]).total_seconds() > STALE_S:
                        self._fs.call_s3(
                            "abort_multipart_upload", Bucket=self._bucket.name, Key=one["Key"], UploadId=one["UploadId"]
                        )
                        gone += 1
            except PermissionError:
                return gone
            except OSError as error:
                if code_of(error) not in {"NotImplemented", "501"}:
                    raise
        return gone


def _now(answer: Mapping[str, Any]) -> datetime:
    """The store's clock, as its answer says."""
    said = answer["ResponseMetadata"]["HTTPHeaders"].get("date")
    return parsedate_to_datetime(said) if said else datetime.now(UTC)

"""The storage on S3 (moto's server): what is particular to a bucket. The common contract: test_storage_files.py."""

from __future__ import annotations

import http.server
import os
import socket
import subprocess
import sys
import threading
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from datetime import timedelta
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest
from s3fs import S3FileSystem

from jobs.errors import StorageUnavailable
from storage import address, cache, remote
from storage import s3 as module
from storage.files import Storage
from tests.services.s3 import BUCKET, S3Server

JOB = "0198c2a4-0000-7000-8000-000000000003"
ROOT = Path(__file__).parents[2]


@pytest.fixture
def storage(s3: S3Server, tmp_path: Path) -> Storage:
    return Storage(s3.url(), tmp_path / "cache")


# -- the URL -----------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("url", ["s3://key:hunter2@bucket/prefix", "s3://bucket/prefix?secret=hunter2"])
def test_given_a_secret_in_the_url_when_read_then_it_is_refused_and_not_repeated(url: str) -> None:
    with pytest.raises(StorageUnavailable) as refused:
        Storage(url)
    assert "hunter2" not in str(refused.value)
    assert "AWS_SHARED_CREDENTIALS_FILE" in str(refused.value)
    assert "hunter2" not in address.shown(url)


@pytest.mark.parametrize(
    ("url", "said"),
    [("s3:///prefix", "no bucket"), ("s3://b/p?addressing_style=paths", "auto, path, virtual"),
     ("s3://b/p?server_side_encryption=rot13", "AES256")],
)  # fmt: skip
def test_given_a_url_that_cannot_be_when_read_then_it_says_what_can(url: str, said: str) -> None:
    with pytest.raises(StorageUnavailable, match=said):
        Storage(url)


def test_given_options_when_used_then_endpoint_keys_file_and_encryption_are_the_users(
    s3: S3Server, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Given an endpoint in the URL and keys in a file, as a compose secret, then objects lie there, encrypted."""
    for name in ("AWS_ENDPOINT_URL_S3", "AWS_ACCESS_KEY_ID", "AWS_SECRET_ACCESS_KEY", "AWS_DEFAULT_REGION"):
        monkeypatch.delenv(name)
    secrets = tmp_path / "keys"
    secrets.write_text("[default]\naws_access_key_id = testing\naws_secret_access_key = from-a-file\n")
    monkeypatch.setenv("AWS_SHARED_CREDENTIALS_FILE", str(secrets))
    options = "region=eu-central-1&addressing_style=path&server_side_encryption=AES256"
    storage = Storage(f"{s3.url()}?endpoint_url={s3.endpoint}&{options}", tmp_path / "cache")
    storage.put_artifacts([(JOB, 1, "small", b"x"), (JOB, 1, "large", _file(tmp_path, 17 << 20))])
    for name in ("small", "large"):
        head = s3.client.head_object(Bucket=BUCKET, Key=f"prefix/jobs/{JOB}/1/{name}")
        assert head["ServerSideEncryption"] == "AES256"
    said = storage.check(thorough=True)
    assert f"s3://{BUCKET}/prefix at {s3.endpoint}, encryption at rest: AES256" in said
    assert s3.keys("prefix/tmp") == []


# -- what a request costs ----------------------------------------------------------------------------------------


def _file(folder: Path, size: int) -> Path:
    path = folder / "content"
    path.write_bytes(os.urandom(1 << 20) * (size >> 20))
    return path


def test_given_the_daily_work_when_done_then_the_bucket_is_never_listed(
    storage: Storage, monkeypatch: pytest.MonkeyPatch
) -> None:
    asked: list[str] = []
    true = S3FileSystem._call_s3

    async def telling(self: Any, method: str, *more: Any, **named: Any) -> Any:
        asked.append(method)
        return await true(self, method, *more, **named)

    monkeypatch.setattr(S3FileSystem, "_call_s3", telling)
    stored = storage.put([b"pixels"], 100)
    assert storage.local(stored.digest).read_bytes() == b"pixels"
    storage.put_artifacts([(JOB, 1, "a", b"1"), (JOB, 1, "b", b"2")])
    assert storage.read_artifact(JOB, 1, "a") == b"1"
    assert storage.exists(stored.digest)
    assert not storage.exists("sha256:" + "0" * 64)
    storage.check()
    assert asked.count("put_object") == 4
    assert not [method for method in asked if "list" in method]


def test_given_more_names_than_fit_in_one_answer_when_listed_then_all_are_there(
    storage: Storage, monkeypatch: pytest.MonkeyPatch
) -> None:
    true = S3FileSystem._call_s3

    async def two_at_a_time(self: Any, method: str, *more: Any, **named: Any) -> Any:
        few = {"MaxKeys": 2} if method == "list_objects_v2" else {}
        return await true(self, method, *more, **named, **few)

    jobs = [JOB[:-1] + digit for digit in "12345"]
    storage.put_artifacts([(job, 1, name, b"x") for job in jobs for name in ("a", "b", "c")])
    monkeypatch.setattr(S3FileSystem, "_call_s3", two_at_a_time)
    assert storage.folders_of_jobs() == jobs
    assert storage.artifacts(jobs[0], 1) == ["a", "b", "c"]


WORK = """
import os, resource, sys
from pathlib import Path
from storage.files import Storage
storage, size = Storage(sys.argv[1], Path(sys.argv[2])), int(sys.argv[3])
small = storage.put([b"first"], 10)
before = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
stored = storage.put((bytes([n % 251]) * (1 << 20) for n in range(size)), 1 << 40)
storage.local(stored.digest)
with storage.open(stored.digest) as stream:
    stream.seek((size - 1) << 20)
    assert stream.read(10) == bytes([(size - 1) % 251]) * 10
    stream.seek(0)
    assert sum(len(piece) for piece in iter(lambda: stream.read(1 << 20), b"")) == size << 20
print((resource.getrusage(resource.RUSAGE_SELF).ru_maxrss - before) // 1024, flush=True)
child = os.fork()
if child == 0:
    os._exit(0 if storage.exists(small.digest) and storage.put([b"child"], 10).size == 5 else 1)
sys.exit(os.waitstatus_to_exitcode(os.waitpid(child, 0)[1]))
"""


def run_work(s3: S3Server, folder: Path, size_mib: int) -> int:
    """MiB by which a process grows that uploads, fetches and reads so much; its forked child uses the storage too."""
    environment = {**os.environ, "PYTHONPATH": str(ROOT)}
    done = subprocess.run(
        [sys.executable, "-P", "-c", WORK, s3.url(), str(folder / "cache"), str(size_mib)],
        env=environment, capture_output=True, text=True, timeout=240, check=False,
    )  # fmt: skip
    assert done.returncode == 0, done.stderr
    return int(done.stdout)


def test_given_a_large_file_when_it_goes_there_and_back_then_memory_holds_a_few_parts_of_it(
    s3: S3Server, tmp_path: Path
) -> None:
    assert run_work(s3, tmp_path, 160) < 130  # four parts of 8 MiB, sent or received, copied once or twice
    (large,) = [
        key for key in s3.keys("prefix/blobs") if s3.client.head_object(Bucket=BUCKET, Key=key)["ContentLength"] > 10
    ]
    assert s3.client.head_object(Bucket=BUCKET, Key=large)["ETag"].endswith('-20"')  # twenty parts


# -- two at once -------------------------------------------------------------------------------------------------


def test_given_two_attempts_of_a_job_when_they_write_at_once_then_each_reads_its_own(
    s3: S3Server, tmp_path: Path
) -> None:
    """Given a zombie under fence 1 and its successor under fence 2, both writing the same names, then neither is
    overwritten, and the checkpoint that fence 2 goes on from is none that fence 1 wrote later."""
    zombie, owner = (Storage(s3.url(), tmp_path / name) for name in ("zombie", "owner"))
    zombie.checkpoints(JOB, 1).save({"weights": b"step 1"}, {"step": 1})

    def work(storage: Storage, fence: int) -> None:
        for step in range(5):
            storage.put_artifact(JOB, fence, "table.csv", b"fence %d step %d" % (fence, step))
        storage.checkpoints(JOB, fence).save({"weights": b"fence %d" % fence}, {"fence": fence})

    with ThreadPoolExecutor(2) as pool:
        list(pool.map(work, (zombie, owner), (1, 2)))
    assert owner.read_artifact(JOB, 1, "table.csv") == b"fence 1 step 4"
    assert owner.read_artifact(JOB, 2, "table.csv") == b"fence 2 step 4"
    assert owner.checkpoints(JOB, 2).newest() == ({"weights": b"fence 2"}, {"fence": 2})


def test_given_a_second_process_of_the_same_attempt_when_it_saves_then_it_is_refused_and_nothing_is_overwritten(
    storage: Storage,
) -> None:
    first, second = storage.checkpoints(JOB, 1), storage.checkpoints(JOB, 1)
    first.save({"weights": b"first"}, {"by": 1})
    with pytest.raises(StorageUnavailable, match="other bytes"):
        second.save({"weights": b"second"}, {"by": 2})
    assert storage.checkpoints(JOB, 2).newest() == ({"weights": b"first"}, {"by": 1})


def test_given_an_answer_that_was_lost_when_the_same_bytes_are_sent_again_then_that_is_no_conflict(
    storage: Storage, s3: S3Server, tmp_path: Path
) -> None:
    large, path = _file(tmp_path, 17 << 20), f"jobs/{JOB}/1/checkpoints/1"
    for _ in range(2):
        storage._place.create_many({f"{path}/small": b"x", f"{path}/large": large})
    large.write_bytes(large.read_bytes()[:-1] + b"?")
    with pytest.raises(StorageUnavailable, match="other bytes"):
        storage._place.create_many({f"{path}/large": large})
    assert "Uploads" not in s3.client.list_multipart_uploads(Bucket=BUCKET)


def test_given_a_save_that_failed_half_way_when_the_next_comes_then_it_does_not_write_into_the_half(
    storage: Storage, monkeypatch: pytest.MonkeyPatch
) -> None:
    store = storage.checkpoints(JOB, 1)
    true = module.S3._upload

    def failing(self: module.S3, path: str, content: bytes | Path, **how: Any) -> None:
        if path.endswith("manifest.json"):
            raise OSError("away")
        true(self, path, content, **how)

    monkeypatch.setattr(module.S3, "_upload", failing)
    with pytest.raises(StorageUnavailable):
        store.save({"weights": b"step 1"}, {"step": 1})
    monkeypatch.undo()
    store.save({"weights": b"step 2"}, {"step": 2})
    assert store.newest() == ({"weights": b"step 2"}, {"step": 2})


def test_given_a_store_without_conditional_writes_when_saved_then_the_fence_alone_guards(
    storage: Storage, monkeypatch: pytest.MonkeyPatch
) -> None:
    true = S3FileSystem._call_s3

    async def old(self: Any, method: str, *more: Any, **named: Any) -> Any:
        if "IfNoneMatch" in named:
            from botocore.exceptions import ClientError

            raise OSError("no such header") from ClientError({"Error": {"Code": "NotImplemented"}}, method)
        return await true(self, method, *more, **named)

    monkeypatch.setattr(S3FileSystem, "_call_s3", old)
    storage.checkpoints(JOB, 1).save({"weights": b"1"}, {"step": 1})
    assert storage.checkpoints(JOB, 1).newest() == ({"weights": b"1"}, {"step": 1})


def test_given_a_clock_that_is_a_day_ahead_when_a_sweep_comes_then_fresh_bytes_stay(
    storage: Storage, monkeypatch: pytest.MonkeyPatch
) -> None:
    import time

    stored = storage.put([b"uploaded just now"], 100)
    monkeypatch.setattr(remote, "time", SimpleNamespace(time=lambda: time.time() + 86_400))
    assert not storage.delete(stored.digest, older_s=3600)
    assert storage.exists(stored.digest)


# -- when it is away ---------------------------------------------------------------------------------------------


def test_given_a_bucket_that_is_gone_when_asked_then_files_are_not_called_missing(
    storage: Storage, s3: S3Server
) -> None:
    """Given a bucket deleted or renamed, then nothing may take its files for lost and go by that."""
    stored = storage.put([b"x"], 10)
    storage.delete(stored.digest)
    s3.client.delete_bucket(Bucket=BUCKET)
    asks = (
        lambda: storage.exists(stored.digest), lambda: storage.local(stored.digest),
        lambda: storage.open(stored.digest),
        lambda: storage.intact(stored.digest), lambda: storage.delete_job(JOB), lambda: storage.fences(JOB),
        lambda: storage.put([b"x"], 10), lambda: storage.check(thorough=True), storage.clean,
    )  # fmt: skip
    for ask in asks:
        with pytest.raises(StorageUnavailable, match="no such bucket"):
            ask()


def test_given_a_store_that_goes_and_comes_back_when_used_then_the_same_storage_goes_on(
    tmp_path: Path, s3: S3Server
) -> None:
    storage = Storage(s3.url(), tmp_path / "cache")
    stored = storage.put([b"x"], 10)
    s3.stop()
    try:
        for ask in (lambda: storage.put([b"y"], 10), lambda: storage.local(stored.digest), lambda: storage.check()):
            with pytest.raises(StorageUnavailable, match="AWS_ENDPOINT_URL_S3"):
                ask()
    finally:
        s3.start()
    assert storage.local(stored.digest).read_bytes() == b"x"


def test_given_a_store_that_accepts_and_is_silent_when_asked_then_the_wait_ends(
    tmp_path: Path, s3: S3Server, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(address, "READ_S", 0.2)
    with socket.create_server(("127.0.0.1", 0)) as silent:
        monkeypatch.setenv("AWS_ENDPOINT_URL_S3", f"http://127.0.0.1:{silent.getsockname()[1]}")
        with pytest.raises(StorageUnavailable, match="does not answer in time"):
            Storage(s3.url(), tmp_path).check()


@contextmanager
def answering(status: int, code: str) -> Iterator[str]:
    """A store that refuses everything; its URL."""

    class Refusing(http.server.BaseHTTPRequestHandler):
        def do_PUT(self) -> None:
            self.rfile.read(int(self.headers.get("Content-Length") or 0))
            body = f"<Error><Code>{code}</Code><Message>AKIASECRET</Message></Error>".encode()
            self.send_response(status)
            self.send_header("Content-Length", str(len(body)))
            self.end_headers()
            self.wfile.write(body)

        def log_message(self, *_: object) -> None:
            pass

    with http.server.ThreadingHTTPServer(("127.0.0.1", 0), Refusing) as server:
        thread = threading.Thread(target=server.serve_forever, args=(0.05,))
        thread.start()
        yield f"http://127.0.0.1:{server.server_address[1]}"
        server.shutdown()
        thread.join()


@pytest.mark.parametrize(
    ("status", "code", "remedy"),
    [(403, "AccessDenied", "s3:PutObject"), (403, "InvalidAccessKeyId", "AWS_ACCESS_KEY_ID"),
     (403, "SignatureDoesNotMatch", "secret key"), (403, "RequestTimeTooSkewed", "NTP"),
     (404, "NoSuchBucket", "no such bucket"), (301, "PermanentRedirect", "AWS_DEFAULT_REGION"),
     (503, "SlowDown", "overloaded"), (507, "XMinioStorageFull", "full")],
)  # fmt: skip
def test_given_a_refusal_when_the_doctor_looks_then_it_says_what_to_do_and_nothing_secret(
    tmp_path: Path, s3: S3Server, monkeypatch: pytest.MonkeyPatch, status: int, code: str, remedy: str
) -> None:
    with answering(status, code) as url:
        monkeypatch.setenv("AWS_ENDPOINT_URL_S3", url)
        with pytest.raises(StorageUnavailable) as refused:
            Storage(s3.url(), tmp_path).check(thorough=True)
    assert remedy in refused.value.detail
    assert refused.value.detail.startswith("Cannot write (s3:PutObject)")
    assert "AKIASECRET" not in refused.value.detail


def test_given_no_keys_when_looked_at_then_it_says_where_they_come_from(
    s3: S3Server, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.delenv("AWS_ACCESS_KEY_ID")
    monkeypatch.delenv("AWS_SECRET_ACCESS_KEY")
    with pytest.raises(StorageUnavailable, match=r"no keys: .*AWS_SHARED_CREDENTIALS_FILE"):
        Storage(s3.url(), tmp_path).check()


# -- what is left over -------------------------------------------------------------------------------------------


def test_given_an_upload_that_a_dead_process_left_when_a_day_has_passed_then_it_is_aborted(
    storage: Storage, s3: S3Server, monkeypatch: pytest.MonkeyPatch
) -> None:
    for key in ("prefix/blobs/ab/cd", "another/blobs/ab/cd"):
        s3.client.create_multipart_upload(Bucket=BUCKET, Key=key)
    (begun, *_) = (one["Initiated"] for one in s3.client.list_multipart_uploads(Bucket=BUCKET)["Uploads"])
    monkeypatch.setattr(module, "_now", lambda _: begun + timedelta(hours=23))
    assert storage.clean() == 0
    monkeypatch.setattr(module, "_now", lambda _: begun + timedelta(hours=25))
    assert storage.clean() == 1
    assert _uploads(s3) == ["another/blobs/ab/cd"]  # another installation's are not ours


def _uploads(s3: S3Server) -> list[str]:
    return sorted(one["Key"] for one in s3.client.list_multipart_uploads(Bucket=BUCKET).get("Uploads", ()))


def test_given_a_copy_that_nobody_asked_for_in_an_hour_when_swept_then_it_goes(
    storage: Storage, tmp_path: Path
) -> None:
    used, unused = (storage.local(storage.put([body], 10).digest) for body in (b"used", b"unused"))
    os.utime(unused, (1, 1))
    assert cache.Cache(tmp_path / "cache").sweep() == 1
    assert (used.exists(), unused.exists()) == (True, False)

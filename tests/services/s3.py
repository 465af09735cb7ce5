"""A private S3 for the tests: moto's server in this process, on a free loopback port, with one bucket."""

from __future__ import annotations

from typing import Any

import boto3
from botocore.config import Config
from moto.moto_server.threaded_moto_server import ThreadedMotoServer

BUCKET = "hospital"
KEYS = {
    "AWS_ACCESS_KEY_ID": "testing",
    "AWS_SECRET_ACCESS_KEY": "a-secret-of-the-tests",
    "AWS_DEFAULT_REGION": "us-east-1",
    "AWS_EC2_METADATA_DISABLED": "true",
    "AWS_CONFIG_FILE": "/nowhere",
    "AWS_SHARED_CREDENTIALS_FILE": "/nowhere",
}


class S3Server:
    """What it holds outlives `stop` and `start`, as the disks of a store outlive its process."""

    def __init__(self) -> None:
        self.port = 0
        self.start()
        self.client: Any = boto3.client(
            "s3", endpoint_url=self.endpoint, aws_access_key_id=KEYS["AWS_ACCESS_KEY_ID"],
            aws_secret_access_key=KEYS["AWS_SECRET_ACCESS_KEY"], region_name="us-east-1",
            config=Config(s3={"addressing_style": "path"}),
        )  # fmt: skip

    def start(self) -> None:
        self._server = ThreadedMotoServer("127.0.0.1", self.port, verbose=False)
        self._server.start()
        _, self.port = self._server.get_host_and_port()

    def stop(self) -> None:
        """Away; connections are refused."""
        self._server.stop()

    @property
    def endpoint(self) -> str:
        return f"http://127.0.0.1:{self.port}"

    def empty(self) -> None:
        """Forget everything, and make the bucket anew."""
        from moto.core import DEFAULT_ACCOUNT_ID
        from moto.s3.models import s3_backends

        for backend in s3_backends[DEFAULT_ACCOUNT_ID].values():
            backend.reset()
        self.client.create_bucket(Bucket=BUCKET)

    def keys(self, prefix: str = "") -> list[str]:
        """Every object, sorted."""
        pages = self.client.get_paginator("list_objects_v2").paginate(Bucket=BUCKET, Prefix=prefix)
        return sorted(one["Key"] for page in pages for one in page.get("Contents", ()))

    def environment(self) -> dict[str, str]:
        """What a user sets for this store."""
        return {**KEYS, "AWS_ENDPOINT_URL_S3": self.endpoint}

    def url(self, prefix: str = "prefix") -> str:
        return f"s3://{BUCKET}/{prefix}"

"""s3fs, with an end to each of its requests."""

from __future__ import annotations

import asyncio
import logging
from typing import Any

from botocore.handlers import add_expect_header
from s3fs import S3FileSystem

from storage import address

for _chatty in ("botocore", "aiobotocore"):
    logging.getLogger(_chatty).setLevel(logging.WARNING)  # where keys and endpoint were found is nobody's news


class Bounded(S3FileSystem):  # type: ignore[misc]
    """One request, with its tries, ends after `address.REQUEST_S`, whatever the store does."""

    async def set_session(self, refresh: bool = False, kwargs: dict[str, Any] | None = None) -> Any:
        """A client that does not ask before it sends: aiohttp waits for the answer to `Expect: 100-continue` without
        any limit, so that a store that accepts connections and is silent would hold a thread for ever."""
        client = await super().set_session(refresh, kwargs or {})
        client.meta.events.unregister("before-call.s3", add_expect_header)
        return client

    async def _call_s3(self, method: str, *more: Any, **named: Any) -> Any:
        return await asyncio.wait_for(super()._call_s3(method, *more, **named), address.REQUEST_S)

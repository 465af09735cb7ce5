"""multipart/form-data read part by part as it comes, so that a file of 2 GB goes straight to the storage.

Flask's own `request.files` would write every file to a temporary file first and read it a second time.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator

from flask import request
from werkzeug.sansio.multipart import Data, Epilogue, Field, File, MultipartDecoder, NeedData

from api.problems import FieldError, Problem

MOST_PARTS = 10_100
"""As many files as a job may have inputs, and the fields beside them."""

MOST_BUFFERED = 1 << 20
"""Bytes that the decoder holds back: a part's headers must fit."""


class Part:
    """One field or file of a form; its bytes must be read before the next part is."""

    def __init__(self, name: str, reader: FormReader) -> None:
        """`name` is the field's; a file's own name is patient data and is dropped here."""
        self.name, self._reader = name, reader

    def chunks(self) -> Iterator[bytes]:
        """The part's bytes as they come."""
        return self._reader.data()

    def text(self, limit: int) -> str:
        """The part as UTF-8, at most `limit` bytes."""
        content = b""
        for chunk in self.chunks():
            content += chunk
            if len(content) > limit:
                raise Problem("body-too-large", f"The fields of a form may have at most {limit} bytes.")
        try:
            return content.decode("utf-8")
        except UnicodeDecodeError:
            raise Problem("invalid-multipart", "Send the fields of the form in UTF-8.") from None


class FormReader:
    """Iterates over the parts of a form."""

    def __init__(self, chunks: Iterable[bytes]) -> None:
        """`chunks` are the request's body."""
        boundary = request.mimetype_params.get("boundary", "")
        if not 1 <= len(boundary) <= 200 or not boundary.isascii():
            raise Problem("invalid-multipart", "The Content-Type names no boundary; let the HTTP library set it.")
        self._chunks = iter(chunks)
        self._decoder = MultipartDecoder(boundary.encode(), MOST_BUFFERED, max_parts=MOST_PARTS)
        self._more = False

    def __iter__(self) -> Iterator[Part]:
        while True:
            for _ in self.data():  # what the last part's reader left
                pass
            event = self._next()
            if isinstance(event, Field | File):
                if not isinstance(event.name, str):
                    raise Problem("invalid-multipart", "Give every part of the form a name.")
                self._more = True
                yield Part(event.name, self)
            elif isinstance(event, Epilogue):
                return

    def data(self) -> Iterator[bytes]:
        """The bytes of the part at hand."""
        while self._more:
            event = self._next()
            if isinstance(event, Data):
                self._more = event.more_data
                if event.data:
                    yield event.data

    def _next(self) -> object:
        """The decoder's next event, feeding it as needed."""
        try:
            event = self._decoder.next_event()
            while isinstance(event, NeedData):
                self._decoder.receive_data(next(self._chunks, None))
                event = self._decoder.next_event()
        except ValueError:
            raise Problem("invalid-multipart") from None
        return event


def is_form() -> bool:
    """Whether the request's body is multipart/form-data."""
    return request.mimetype == "multipart/form-data"


def once(name: str, seen: Iterable[str]) -> None:
    """Raise a problem where a field comes a second time."""
    if name in seen:
        raise Problem("invalid-request", errors=[FieldError(f"#/{name}", "Send this field once.")])

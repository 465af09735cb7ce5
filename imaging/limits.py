"""How large and how deep an input may be: every number has its reason beside it."""

from __future__ import annotations

from dataclasses import dataclass

MEBI = 1 << 20


@dataclass(frozen=True)
class Limits:
    """The limits of one installation; all are checked before anything of that size is allocated."""

    max_bytes: int = 2048 * MEBI
    """One file. The length field of explicit VR Pixel Data has 32 bits, and beyond 2 GiB readers disagree."""

    max_inflated_bytes: int = 1024 * MEBI
    """A deflated data set after inflation. Deflate can grow a file a thousandfold, so `max_bytes` says nothing."""

    max_frames: int = 10_000
    """Frames of one object. The longest real cine loops have a few thousand; 100,000 is a forged header."""

    max_side: int = 16_384
    """Rows or columns. A stitched long-leg radiograph has about 10,000; the field itself would allow 65,535."""

    max_samples: int = 256 * MEBI
    """Rows x columns x frames x samples. As float32 this is 1 GiB of memory for one input."""

    max_depth: int = 32
    """Sequences inside sequences. Structured reports reach about 10; parsers recurse once a level."""

    max_elements: int = 1_000_000
    """Data elements counted over all sequences. An enhanced object of 10,000 frames has about 500,000."""

    max_png_pixels: int = 64 * MEBI
    """Width x height of a PNG, below the number where Pillow itself starts to warn of a decompression bomb."""

    max_archive_members: int = 20_000
    """Files in one zip. A long CT study has 5,000."""

    max_archive_bytes: int = 8192 * MEBI
    """Sum of the unpacked sizes of one zip, counted while it is unpacked, not as the zip claims."""

    max_archive_ratio: int = 1_000
    """Unpacked over packed size of one member. Deflate cannot exceed about 1,030; uncompressed images reach 200."""


DEFAULT_LIMITS = Limits()

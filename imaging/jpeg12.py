"""JPEG Extended (Process 2 and 4) with 12 bits a sample, through GDCM (BSD)."""

from __future__ import annotations

import gdcm

from jobs.errors import DecodeFailed

_SYNTAX = "1.2.840.10008.1.2.4.51"


def decode_frame(frame: bytes, rows: int, columns: int, bits_stored: int) -> bytes:
    """One grey frame as rows x columns little-endian 16-bit values; its size must have been checked."""
    fragment = gdcm.Fragment()
    fragment.SetByteStringValue(frame)
    fragments = gdcm.SequenceOfFragments.New()
    fragments.AddFragment(fragment)
    element = gdcm.DataElement(gdcm.Tag(0x7FE0, 0x0010))
    element.SetValue(fragments.__ref__())
    image = gdcm.Image()
    image.SetNumberOfDimensions(2)
    image.SetDimensions((columns, rows, 1))
    image.SetDataElement(element)
    grey = gdcm.PhotometricInterpretation.GetPIType("MONOCHROME2")
    image.SetPhotometricInterpretation(gdcm.PhotometricInterpretation(grey))
    image.SetTransferSyntax(gdcm.TransferSyntax(gdcm.TransferSyntax.GetTSType(_SYNTAX)))
    image.SetPixelFormat(gdcm.PixelFormat(1, 16, bits_stored, bits_stored - 1, 0))
    plain = image.GetBuffer()
    # GDCM hands bytes over as a string with surrogates, and None where it failed.
    if plain is None:
        raise DecodeFailed("The 12-bit JPEG frame cannot be decoded.")
    encoded: bytes = plain.encode("utf-8", "surrogateescape")
    if len(encoded) != rows * columns * 2:
        raise DecodeFailed("The 12-bit JPEG frame gave another number of pixels.")
    return encoded

"""Values that the standard closes or defines, by themselves: a schema that names them needs no DICOM library."""

from __future__ import annotations

GREY = ("MONOCHROME1", "MONOCHROME2")
COLOUR = ("RGB", "YBR_FULL", "YBR_FULL_422", "YBR_PARTIAL_422", "YBR_PARTIAL_420", "YBR_ICT", "YBR_RCT")
PHOTOMETRIC = (*GREY, "PALETTE COLOR", *COLOUR)
"""The values of PhotometricInterpretation that this package draws (PS3.3 C.7.6.3.1.2)."""

_TERMS = (
    "AR ASMT AU BDUS BI BMD CD CF CP CR CS CT DD DF DG DM DOC DS DX EC ECG EEG EMG EOG EPS ES FA FID FS GM HC HD IO "
    "IOL IVOCT IVUS KER KO LEN LP LS MA MG MR MS NM OAM OCT OP OPM OPR OPT OPTBSV OPTENF OPV OSS OT PA PLAN POS PR PT "
    "PX REG RESP RF RG RTDOSE RTIMAGE RTINTENT RTPLAN RTRAD RTRECORD RTSEGANN RTSTRUCT RWV SEG SM SMR SR SRF ST STAIN "
    "TEXTUREMAP TG US VA VF XA XAPROTOCOL XC"
)
MODALITIES = frozenset(_TERMS.split())
"""Defined terms of Modality (PS3.3 C.7.3.1.1.1), retired ones included; a value outside this list is not repeated."""

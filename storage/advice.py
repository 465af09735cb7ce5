"""What to do about each answer of S3 that an operator may meet."""

from __future__ import annotations

from jobs.errors import StorageUnavailable

_KEYS = (
    "give the right keys by AWS_ACCESS_KEY_ID and AWS_SECRET_ACCESS_KEY, or by a file that AWS_SHARED_CREDENTIALS_FILE "
    "names"
)
_DENIED = (
    "these keys may not do that: they need s3:GetObject, s3:PutObject, s3:DeleteObject and s3:AbortMultipartUpload on "
    "the prefix, and s3:ListBucket on the bucket (and the key's own rights with server-side encryption by KMS)"
)
_REGION = "the bucket lies in another region: set AWS_DEFAULT_REGION or ?region="
_CLOCK = "the clock of this host is off by more than fifteen minutes: set it by NTP"
_ENDPOINT = "nobody answers there: correct AWS_ENDPOINT_URL_S3 or ?endpoint_url=, or start it"
_SILENT = "it does not answer in time: look at the network and the store"
_LATER = "it is overloaded; medjobs tries again by itself"

_BY_CODE = {
    "AccessDenied": _DENIED,
    "403": _DENIED,
    "AllAccessDisabled": _DENIED,
    "InvalidAccessKeyId": f"it does not know this access key: {_KEYS}",
    "SignatureDoesNotMatch": f"the secret key does not fit the access key: {_KEYS}",
    "ExpiredToken": f"the temporary credentials have expired: {_KEYS}",
    "InvalidToken": f"the session token does not fit: {_KEYS}",
    "RequestTimeTooSkewed": _CLOCK,
    "PermanentRedirect": _REGION,
    "301": _REGION,
    "AuthorizationHeaderMalformed": _REGION,
    "IllegalLocationConstraintException": _REGION,
    "SlowDown": _LATER,
    "ServiceUnavailable": _LATER,
    "503": _LATER,
    "InsufficientStorage": "it is full: make room there",
    "XMinioStorageFull": "it is full: make room there",
    "QuotaExceeded": "the bucket's quota is used up: raise it or make room there",
}
_BY_TYPE = {
    "NoCredentialsError": f"there are no keys: {_KEYS}",
    "PartialCredentialsError": f"half of the keys is missing: {_KEYS}",
    "ProfileNotFound": "the profile is not in the credentials file: correct AWS_PROFILE or ?profile=",
    "EndpointConnectionError": _ENDPOINT,
    "ConnectTimeoutError": _ENDPOINT,
    "ReadTimeoutError": _SILENT,
    "ConnectionClosedError": _SILENT,
    "InvalidRegionError": "there is no such region: correct AWS_DEFAULT_REGION or ?region=",
    "SSLError": "its certificate is not trusted: name the authority's file in AWS_CA_BUNDLE",
    "FSTimeoutError": _SILENT,
}


def code_of(error: BaseException) -> str:
    """S3's own code of what s3fs has made an OSError of ("NoSuchBucket"; "403" where the answer had no body), or ""."""
    for one in (error, error.__cause__, error.__context__):
        response = getattr(one, "response", None)
        if isinstance(response, dict):
            return str(response.get("Error", {}).get("Code", ""))
    return ""


def advice(error: BaseException, place: str) -> str | None:
    """What is wrong with the store at `place`, and what to do; None where it is no answer of S3.

    The store's own text is left out: it may repeat keys and names.
    """
    code = code_of(error)
    remedy = _BY_CODE.get(code) or _BY_TYPE.get(type(error).__name__)
    if remedy:
        return f"The storage at {place} refuses or fails ({code or type(error).__name__}): {remedy}. Then all goes on."
    return f"The storage at {place} failed ({code}); look at it with `medjobs doctor`." if code else None


def missing_bucket(place: str) -> StorageUnavailable:
    """The bucket is not there; that says nothing of the files in it."""
    return StorageUnavailable(
        f"There is no such bucket at {place} (NoSuchBucket): make it, or correct MEDJOBS_STORAGE_URL, the endpoint or "
        "the keys, which may be another account's."
    )

"""Response headers that keep a caller's bytes from doing anything in a browser."""

from __future__ import annotations

NO_SNIFFING = {"X-Content-Type-Options": "nosniff", "Cache-Control": "no-store", "Referrer-Policy": "no-referrer"}
"""On every answer: results are patient data and stay out of caches."""

GUARDED = {
    "Content-Security-Policy": (
        "default-src 'none'; img-src data:; style-src 'unsafe-inline'; font-src data:; "
        "base-uri 'none'; form-action 'none'; frame-ancestors 'none'; sandbox"
    ),
    **NO_SNIFFING,
}
"""On bytes that came from a caller or a model: pictures and styles inside the page, no script, no network."""

DOCUMENTATION = {
    "Content-Security-Policy": (
        "default-src 'none'; style-src 'unsafe-inline'; base-uri 'none'; form-action 'none'; frame-ancestors 'none'"
    )
}
"""On /docs: one page with its style inside, nothing fetched."""

"""Rates and latencies of the whole system, each beside the simple alternative, in one run: `make bench`."""

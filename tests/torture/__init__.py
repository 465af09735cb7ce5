"""The proof of the promise: the real stack, everything that can go wrong, and a ledger kept outside of it.

`make torture` runs every fault on SQLite and on PostgreSQL, then switches the guards off one at a time and demands that
the judge notices. docs/torture.md tells how to read the report.
"""

"""The states of jobs as they stand in the text of a statement, where an index holds only the jobs of one.

PostgreSQL may keep one plan for all values of a parameter. Such a plan cannot use the index of what waits or runs, and
walks through every job that ever was; one that names the state can.
"""

from __future__ import annotations

from typing import Any

from sqlalchemy import ColumnElement, Text, literal_column

from jobs.states import State

QUEUED = literal_column(f"'{State.QUEUED.value}'", Text)
RUNNING = literal_column(f"'{State.RUNNING.value}'", Text)


def still(jobs: Any, state: ColumnElement[str]) -> ColumnElement[bool]:
    """Whether a job that a statement finds by its id is in that state: in words that fit no index.

    While the statistics of the table say that hardly anything waits, as they do when a burst has just arrived,
    PostgreSQL takes the index of what waits for the shortest way to every job, and reads all of it for each.
    """
    found: ColumnElement[bool] = jobs.c.state.concat(literal_column("''", Text)) == state
    return found

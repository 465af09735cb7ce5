"""The states of jobs as they stand in the text of a statement, where an index holds only the jobs of one.

PostgreSQL may keep one plan for all values of a parameter. Such a plan cannot use the index of what waits or runs, and
walks through every job that ever was; one that names the state can.
"""

from __future__ import annotations

from sqlalchemy import Text, literal_column

from jobs.states import State

QUEUED = literal_column(f"'{State.QUEUED.value}'", Text)
RUNNING = literal_column(f"'{State.RUNNING.value}'", Text)

"""Fills a database with jobs that ended over two years, 400 that run and 100,000 that wait: by SQL, part by part.

A fill that was cut off goes on where it stopped. The rows are those that the system itself would have written, with the
indexes as they are in use; only the foreign keys are not checked, nor the triggers called, while they are written.
"""

from __future__ import annotations

import json
from typing import NamedTuple

import psycopg
from psycopg import sql

from benchmarks.db_rates import RESULT
from benchmarks.scale.server import make, plain
from db import schema
from tests.services.postgres import Postgres

WAITING, RUNNING, CALLERS, BLOBS = 100_000, 400, 20, 10_000
AT_ONCE = 100_000
SPAN_S = 2 * 365 * 86_400.0


class Part(NamedTuple):
    """One INSERT over numbers `n` of the series of jobs."""

    table: str
    statement: str


# Job n of `total` was created two years ago plus its share of them, or in the last hour; its id is a UUIDv7 of that
# moment. All depends on n alone, so that the INSERT of each table makes the same job of the same number.
_JOB = """
  SELECT n, total, at,
    jsonb_build_object('study', 'S' || n / 500, 'site', substr('ABCD', 1 + (n % 4)::int, 1))
      || CASE WHEN n % 1000003 = 5 THEN '{"flag": "review"}'::jsonb ELSE '{}' END AS labels,
    CASE WHEN n <= total - %(live)s THEN CASE WHEN n % 25 = 7 THEN 'failed' WHEN n % 100 = 11 THEN 'cancelled'
         ELSE 'succeeded' END WHEN n <= total - %(waiting)s THEN 'running' ELSE 'queued' END AS state,
    CASE WHEN n % 1000 = 1 THEN 'training' WHEN n % 1000 < 6 THEN 'dataset' WHEN n % 20 < 11 THEN 'diagnosis'
         WHEN n % 20 < 16 THEN 'prediction' WHEN n % 20 < 19 THEN 'screening' ELSE 'synthesis' END AS kind,
    CASE WHEN n % 5 < 3 THEN 1 WHEN n % 499979 = 3 THEN {CALLERS} ELSE 2 + n % ({CALLERS} - 2) END AS caller_id,
    CASE WHEN n % 10 = 0 THEN 9 WHEN n % 10 = 1 THEN 2 ELSE 5 END AS priority,
    overlay(overlay(overlay(lpad(to_hex((at * 1000)::bigint), 12, '0') || '7' || substr(md5(n::text), 1, 3) || '8'
      || substr(md5(n::text), 4, 15) placing '-' from 9 for 0) placing '-' from 14 for 0) placing '-' from 19 for 0)
      AS short_id, md5(n::text) AS random
  FROM (SELECT n, %(total)s::bigint AS total, %(now)s - CASE WHEN n > %(total)s - %(live)s
          THEN 3600 * (%(total)s - n) / %(live)s::float8 ELSE 3600 + %(span)s * (1 - n::float8 / %(total)s) END AS at
        FROM generate_series(%(first)s::bigint, %(last)s::bigint) AS n) AS moments
""".replace("{CALLERS}", str(CALLERS))
_FROM = f"FROM (SELECT *, overlay(short_id placing '-' from 24 for 0) AS id FROM ({_JOB}) AS short) AS job"

_INPUTS = """CASE WHEN kind IN ('prediction', 'screening') THEN '[{"data": {"inline": "' || random || '"}}]'
  WHEN kind IN ('training', 'synthesis') THEN '[]'
  ELSE '["sha256:' || md5((n %% 10000)::text) || md5('b' || n %% 10000) || '"]' END""".replace("%%", "%")
_DIGEST = "'sha256:' || md5((n % 10000)::text) || md5('b' || n % 10000)"
_ENDED = "state IN ('succeeded', 'failed', 'cancelled')"

PARTS = (
    Part("jobs", f"""
      INSERT INTO jobs (id, caller_id, kind, pool, state, priority, inputs, params, labels, seed, timeout_s, created_at,
        started_at, finished_at, sent_at, send_count, inputs_deleted_at, fence, attempt, worker_id, lease_until,
        fraction, error, model_name, model_version, pins)
      SELECT id, caller_id, kind, CASE kind WHEN 'training' THEN 'long' ELSE 'inference' END, state, priority,
        {_INPUTS},
        '{{"explain": true}}', labels,
        0, 300, at, CASE state WHEN 'queued' THEN NULL ELSE at + 2 END, CASE WHEN {_ENDED} THEN at + 5 END, at, 1,
        CASE WHEN {_ENDED} AND at < %(now)s - 30 * 86400.0 AND kind IN ('diagnosis', 'dataset')
          THEN at + 30 * 86400.0 END,
        CASE state WHEN 'queued' THEN 0 ELSE 1 END, CASE state WHEN 'queued' THEN 0 ELSE 1 END,
        CASE state WHEN 'running' THEN 'w' || n % 8 END, CASE state WHEN 'running' THEN %(now)s + 3600 END,
        CASE state WHEN 'succeeded' THEN 1 ELSE 0 END,
        CASE state WHEN 'failed' THEN '{{"code":"all-items-failed","title":"No item succeeded","retryable":false}}' END,
        CASE kind WHEN 'training' THEN 'icu-mortality' END, CASE kind WHEN 'training' THEN 1 END,
        CASE kind WHEN 'training' THEN '{{"dataset": {{"id": "' || random || '"}}}}' END
      {_FROM}"""),
    Part("job_labels", f"""
      INSERT INTO job_labels (job_id, key, value, created_at) SELECT id, label.key, label.value, at
      {_FROM}, jsonb_each_text(labels) AS label"""),
    Part("attempts", f"""
      INSERT INTO attempts (job_id, number, fence, worker_id, started_at, ended_at, outcome)
      SELECT id, 1, 1, 'w' || n % 8, at + 2, CASE WHEN {_ENDED} THEN at + 5 END, CASE WHEN {_ENDED} THEN state END
      {_FROM} WHERE state <> 'queued'"""),
    Part("results", f"""
      INSERT INTO results (job_id, fence, result, created_at) SELECT id, 1, %(result)s, at + 5
      {_FROM} WHERE state = 'succeeded'"""),
    Part("events", f"""
      INSERT INTO events (job_id, type, data, at)
      SELECT id, 'state', '{{"state":"' || step || '"}}', at {_FROM},
        unnest(CASE state WHEN 'queued' THEN ARRAY['queued'] WHEN 'running' THEN ARRAY['queued', 'running']
               ELSE ARRAY['queued', 'running', state] END) AS step"""),
    Part("job_files", f"""
      INSERT INTO job_files (job_id, digest) SELECT id, {_DIGEST} {_FROM}
      WHERE kind IN ('diagnosis', 'dataset') AND (NOT {_ENDED} OR at >= %(now)s - 30 * 86400.0)"""),
)  # fmt: skip

_ONCE = f"""
  CREATE TABLE filled (total bigint, upto bigint, now float8);
  INSERT INTO callers (id, name, webhook_secret, created_at)
    SELECT n, 'lab-' || n, 's', 1 FROM generate_series(1, {CALLERS}) AS n;
  SELECT setval('callers_id_seq', {CALLERS});
  INSERT INTO blobs (digest, size, created_at, idle_since) SELECT {_DIGEST}, 20000, 1, 1
    FROM generate_series(0, {BLOBS - 1}) AS n;
  INSERT INTO holdings (caller_id, digest, media_type, created_at) SELECT c, {_DIGEST}, 'application/dicom', 1
    FROM generate_series(0, {BLOBS - 1}) AS n, generate_series(1, {CALLERS}) AS c;
  INSERT INTO workers (id, host, pid, pool, device, facts, memory, running, state, started_at, heartbeat_at)
    SELECT 'w' || n, 'host', n, 'inference', 'cpu', '{{}}', '{{}}', '[]', 'idle', 1, extract(epoch from now())
    FROM generate_series(0, 7) AS n;
"""


def name(ended: int) -> str:
    """The database with so many ended jobs."""
    return f"rows_{ended}"


def fill(server: Postgres, ended: int, most: int | None = None) -> int:
    """Fill the database of that size, at most `most` jobs of it now; how many are missing still."""
    if make(server, name(ended)):
        schema.upgrade(server.url(name(ended)))
    return fill_into(plain(server, name(ended)), ended, WAITING, most)


def fill_into(url: str, ended: int, waiting: int, most: int | None = None) -> int:
    """Fill a migrated database, at libpq's `url`."""
    with psycopg.connect(url) as connection:
        if connection.execute("SELECT to_regclass('filled')").fetchone() == (None,):
            connection.execute(_ONCE)
            total = ended + RUNNING + waiting
            connection.execute("INSERT INTO filled VALUES (%s, 0, extract(epoch from now()))", [total])
            connection.commit()
        total, done, moment = connection.execute("SELECT total, upto, now FROM filled").fetchone() or (0, 0, 0.0)
        last = min(total, done + (most or total))
        connection.execute("SET session_replication_role = replica")
        asked = {"total": total, "now": moment, "span": SPAN_S, "result": json.dumps(RESULT)}
        asked |= {"waiting": waiting, "live": waiting + RUNNING}
        while done < last:
            upto = min(last, done + AT_ONCE)
            for part in PARTS:
                connection.execute(_quoted(part.statement), {**asked, "first": done + 1, "last": upto})
            connection.execute("UPDATE filled SET upto = %s", [upto])
            connection.commit()
            done = upto
        if done == total:
            connection.commit()
            connection.autocommit = True
            connection.execute("VACUUM ANALYZE")
        return int(total - done)


def _quoted(statement: str) -> sql.SQL:
    """The remainder operator of SQL is the driver's own sign: doubled, but where it names a parameter."""
    return sql.SQL(statement.replace("%", "%%").replace("%%(", "%("))  # type: ignore[arg-type]

"""Whether the process of another host's run is at work: it holds a lock in the Postgres of Dagster's records.

On one machine processes are seen by their numbers and locks of files (`vps_ml.processes`). Hosts share Dagster's
records, if these are in Postgres, which frees a connection's locks when its process ends and, a minute later, when its
host is gone.
"""

import os
import threading
import time
from contextlib import suppress

import dagster as dg
import sqlalchemy as sa

from vps_ml.processes import here_and_now

LOOKS_EVERY_S = 20.0
"""How soon a process takes its lock again after Postgres was away."""
SETTLED_S = 6 * LOOKS_EVERY_S
"""So long after Postgres' start a lock that nobody holds says nothing."""
NOTICES = "-c tcp_keepalives_idle=20 -c tcp_keepalives_interval=10 -c tcp_keepalives_count=3"
"""Makes Postgres notice within a minute that a connection's host is gone."""
TAKE = sa.text("select pg_advisory_lock(hashtextextended(:process, 0))")
LOOK = sa.text(
    """
    select pg_try_advisory_xact_lock(hashtextextended(:process, 0)),
        now() - pg_postmaster_start_time() > make_interval(secs => :settled_s)
    """
)
MISSED_FOR_S = 2 * LOOKS_EVERY_S
MISSED: dict[tuple[str, str], float] = {}
"""Where, and whose lock -> since when it was found free, on this process's monotonic clock."""
STARTING = threading.Lock()
SEEN: set[tuple[str, str]] = set()
"""The locks that this process holds: where, and its name."""


def postgres_of(instance: dg.DagsterInstance) -> str | None:
    """The address of the Postgres with Dagster's records of runs; None if they are on this machine."""
    return getattr(instance.run_storage, "postgres_url", None)


def be_seen(instance: dg.DagsterInstance) -> None:
    """Hold this process's lock from now on, wherever other hosts could look for it."""
    address, process = postgres_of(instance), here_and_now()
    with STARTING:
        if address is None or (address, process) in SEEN:
            return
        connection = holding(address, process)
        threading.Thread(target=stay, args=(address, process, connection), daemon=True).start()
        SEEN.add((address, process))


def has_ended(instance: dg.DagsterInstance, process: str, *, wait: bool = False) -> bool | None:
    """Whether a process has ended that has said `be_seen`; None if that cannot be told (yet).

    Its lock has to be free for `MISSED_FOR_S`, by all looks of this process at it: a living process whose connection
    was cut takes it again before that. With `wait` it is looked at for so long.
    """
    address = postgres_of(instance)
    if address is None:
        return None
    with engine(address).connect() as connection:
        while True:
            free, settled = connection.execute(LOOK, {"process": process, "settled_s": SETTLED_S}).one()
            if not free:
                MISSED.pop((address, process), None)
                return False
            if not settled:
                return None
            missed_s = time.monotonic() - MISSED.setdefault((address, process), time.monotonic())
            if missed_s >= MISSED_FOR_S:
                return True
            if not wait:
                return None
            time.sleep(LOOKS_EVERY_S / 10)


def engine(address: str) -> sa.Engine:
    """Without a pool: what is closed frees its locks."""
    options = {"options": NOTICES, "connect_timeout": 10}
    return sa.create_engine(address, poolclass=sa.NullPool, connect_args=options, isolation_level="AUTOCOMMIT")


def holding(address: str, process: str) -> sa.Connection:
    """A connection that holds the process's lock."""
    connection = engine(address).connect()
    connection.execute(TAKE, {"process": process})
    return connection


def stay(address: str, process: str, connection: sa.Connection) -> None:
    """Hold the lock until this process ends, taking it again when Postgres has been away."""
    own = os.getpid()
    while os.getpid() == own:
        time.sleep(LOOKS_EVERY_S)
        try:
            connection.execute(sa.text("select 1"))
        except sa.exc.SQLAlchemyError:
            with suppress(sa.exc.SQLAlchemyError):
                connection.invalidate()
                connection = holding(address, process)

"""What the warehouse records of its tables, in the schema `lineage`: fingerprints, and statistics' digests by day.

Until version 0.1 one table held both, a fingerprint as one text and the digests under an asset called "… as of"; such
a warehouse is read as it is, and converted by the next write.
"""

from collections.abc import Iterable, Mapping

import duckdb
import polars as pl

from vps_assets.lineage.fingerprints import Fingerprint, Records, cumulative
from vps_assets.lineage.graph import LINEAGE
from vps_assets.tables.partitions import STATIC_KEYS

SCHEMA = """
create schema if not exists lineage;
create table if not exists lineage.made (
    asset text, partition text, basis text, sales bigint, content text, made_at timestamptz
);
create table if not exists lineage.digests (asset text, as_of text, digest text);
"""
MADE_COLUMNS = "asset, partition, basis, sales, content, made_at"
AS_TEXT_MADE = """
select asset, partition, split_part(fingerprint, ':', 1) as basis,
    try_cast(split_part(fingerprint, ':', 2) as bigint) as sales,
    nullif(split_part(fingerprint, ':', 3), '') as content, made_at
from lineage.made where not ends_with(asset, ' as of')
"""
AS_TEXT_DIGESTS = """
select replace(asset, ' as of', '') as asset, partition as as_of, fingerprint as digest
from lineage.made where ends_with(asset, ' as of')
"""


def prepare_records(connection: duckdb.DuckDBPyConnection) -> None:
    """Create the tables, or convert those of an older warehouse, within the caller's transaction."""
    if as_text(connection):
        connection.execute(f"create temp table converted_made as {AS_TEXT_MADE}")
        connection.execute(f"create temp table converted_digests as {AS_TEXT_DIGESTS}")
        connection.execute("drop table lineage.made")
        connection.execute(SCHEMA)
        connection.execute(f"insert into lineage.made ({MADE_COLUMNS}) select {MADE_COLUMNS} from converted_made")  # noqa: S608
        connection.execute("insert into lineage.digests select asset, as_of, digest from converted_digests")
    else:
        connection.execute(SCHEMA)


def as_text(connection: duckdb.DuckDBPyConnection) -> bool:
    """Whether fingerprints are recorded as one text each."""
    return "fingerprint" in made_columns(connection)


def made_columns(connection: duckdb.DuckDBPyConnection) -> set[str]:
    """The columns of `lineage.made`; none if there is no such table."""
    query = "select column_name from duckdb_columns() where schema_name = 'lineage' and table_name = 'made'"
    return {name for (name,) in connection.execute(query).fetchall()}


def read_records(connection: duckdb.DuckDBPyConnection, assets: Iterable[str] | None = None) -> Records:
    """The records of all tables, or of some."""
    columns = made_columns(connection)
    if not columns:
        return Records()
    made_query, digest_query = f"select {MADE_COLUMNS} from lineage.made", "from lineage.digests"  # noqa: S608
    if "fingerprint" in columns:
        made_query, digest_query = AS_TEXT_MADE, AS_TEXT_DIGESTS
    chosen = None if assets is None else set(assets)
    records = Records({}, {})
    for asset, partition, basis, sales, content, _ in connection.execute(made_query).fetchall():
        if (chosen is None or asset in chosen) and not removed(asset, partition):
            records.made.setdefault(asset, {})[partition] = Fingerprint(basis, sales, content)
    digests: dict[str, list[tuple[str, str]]] = {}
    for asset, as_of, digest in connection.execute(digest_query).fetchall():
        if chosen is None or asset in chosen:
            digests.setdefault(asset, []).append((as_of, digest))
    return Records(records.made, {asset: cumulative(rows) for asset, rows in digests.items()})


def removed(asset: str, partition: str) -> bool:
    """Whether this was a partition that the code no longer has, such as a task that was taken out."""
    keys = STATIC_KEYS.get(LINEAGE[asset].partitions) if asset in LINEAGE else None
    return keys is not None and partition not in keys


def read_made_at(connection: duckdb.DuckDBPyConnection) -> dict[str, float]:
    """Asset -> when its newest partition was made, in seconds since 1970."""
    if not made_columns(connection):
        return {}
    query = "select asset, epoch(max(made_at)) from lineage.made group by asset"
    return dict(connection.execute(query).fetchall())


def record(connection: duckdb.DuckDBPyConnection, asset: str, made: Mapping[str, Fingerprint | None]) -> None:
    """Replace the fingerprints of these partitions, within the caller's transaction; None removes one."""
    prepare_records(connection)
    forget(connection, asset, list(made))
    rows = [
        (asset, partition, fingerprint.basis, fingerprint.sales, fingerprint.content)
        for partition, fingerprint in made.items()
        if fingerprint is not None
    ]
    text = dict.fromkeys(("asset", "partition", "basis"), pl.String)
    frame = pl.DataFrame(rows, schema={**text, "sales": pl.Int64, "content": pl.String}, orient="row")
    connection.register("made_now", frame.to_arrow())
    connection.execute("insert into lineage.made select *, now() from made_now")


def forget(connection: duckdb.DuckDBPyConnection, asset: str, partitions: list[str]) -> None:
    """Remove fingerprints, so that the partitions are out of date."""
    prepare_records(connection)
    query = "delete from lineage.made where asset = ? and list_contains(?, partition)"
    connection.execute(query, [asset, partitions])

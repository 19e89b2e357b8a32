"""What the warehouse records of its tables, in the schema `lineage`: fingerprints, and statistics' digests by day.

Fingerprints are only ever added: the newest of a partition counts, one without a basis says that it has none. Writers
of different tables then do not wait for each other where they share a lake, whose transactions conflict if one deletes
from a table that the other adds to.

Until version 0.1 one table held both, a fingerprint as one text and the digests under an asset called "… as of"; such
a warehouse is read as it is, and converted by the next write.
"""

from collections.abc import Iterable, Mapping

import duckdb
import polars as pl

from vps_assets.lineage.fingerprints import Fingerprint, Records, cumulative
from vps_assets.lineage.graph import LINEAGE
from vps_assets.tables.partitions import STATIC_KEYS
from vps_assets.warehouse.catalogue import columns_of

SCHEMA = """
create schema if not exists lineage;
create table if not exists lineage.made (
    asset text, partition text, basis text, sales bigint, content text, made_at timestamptz, number bigint
);
create table if not exists lineage.digests (asset text, as_of text, digest text);
"""
MADE_COLUMNS = "asset, partition, basis, sales, content, made_at, number"
NEWEST = f"""
select {MADE_COLUMNS} from lineage.made
qualify row_number() over (partition by asset, partition order by number desc nulls last) = 1
"""  # noqa: S608
"""The newest record of each partition; `number` counts the writes of its asset."""
UNNUMBERED = "select *, null::bigint as number from lineage.made"
"""The same, of a warehouse in which each partition had one row."""
AS_TEXT_MADE = """
select asset, partition, split_part(fingerprint, ':', 1) as basis,
    try_cast(split_part(fingerprint, ':', 2) as bigint) as sales,
    nullif(split_part(fingerprint, ':', 3), '') as content, made_at, null::bigint as number
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
        if "number" not in made_columns(connection):
            connection.execute("alter table lineage.made add column number bigint")


def newest(connection: duckdb.DuckDBPyConnection) -> str | None:
    """The query for the newest record of each partition, in `MADE_COLUMNS`; None if there are no records yet."""
    columns = made_columns(connection)
    if not columns:
        return None
    if "fingerprint" in columns:
        return AS_TEXT_MADE
    return NEWEST if "number" in columns else UNNUMBERED


def as_text(connection: duckdb.DuckDBPyConnection) -> bool:
    """Whether fingerprints are recorded as one text each."""
    return "fingerprint" in made_columns(connection)


def made_columns(connection: duckdb.DuckDBPyConnection, table: str = "made") -> set[str]:
    """The columns of a table of the schema `lineage`; none if there is no such table."""
    return columns_of(connection, f"lineage.{table}")


def read_records(connection: duckdb.DuckDBPyConnection, assets: Iterable[str] | None = None) -> Records:
    """The records of all tables, or of some."""
    made_query = newest(connection)
    if made_query is None:
        return Records()
    digest_query = AS_TEXT_DIGESTS if made_query == AS_TEXT_MADE else "from lineage.digests"
    chosen = [None if assets is None else list(assets)]
    of_these = "where $1 is null or list_contains($1, asset)"
    records = Records({}, {})
    rows = connection.execute(f"from ({made_query}) {of_these}", chosen).fetchall()  # noqa: S608
    for asset, partition, basis, sales, content, *_ in rows:
        if basis is not None and not removed(asset, partition):
            records.made.setdefault(asset, {})[partition] = Fingerprint(basis, sales, content)
    digests: dict[str, list[tuple[str, str]]] = {}
    for asset, as_of, digest in connection.execute(f"from ({digest_query}) {of_these}", chosen).fetchall():  # noqa: S608
        digests.setdefault(asset, []).append((as_of, digest))
    return Records(records.made, {asset: cumulative(rows) for asset, rows in digests.items()})


def removed(asset: str, partition: str) -> bool:
    """Whether this was a partition that the code no longer has, such as a task that was taken out."""
    keys = STATIC_KEYS.get(LINEAGE[asset].partitions) if asset in LINEAGE else None
    return keys is not None and partition not in keys


def read_made_at(connection: duckdb.DuckDBPyConnection) -> dict[str, float]:
    """Asset -> when its newest partition was made, in seconds since 1970."""
    made_query = newest(connection)
    if made_query is None:
        return {}
    query = f"select asset, epoch(max(made_at)) from ({made_query}) where basis is not null group by asset"  # noqa: S608
    return dict(connection.execute(query).fetchall())


def record(connection: duckdb.DuckDBPyConnection, asset: str, made: Mapping[str, Fingerprint | None]) -> None:
    """Record the fingerprints of these partitions, within the caller's transaction; None: it has none any more.

    The caller is the asset's only writer (`Warehouse.transact`): the numbers of its writes follow each other.
    """
    prepare_records(connection)
    rows = [
        (asset, partition, *((one.basis, one.sales, one.content) if one else (None, None, None)))
        for partition, one in made.items()
    ]
    text = dict.fromkeys(("asset", "partition", "basis"), pl.String)
    frame = pl.DataFrame(rows, schema={**text, "sales": pl.Int64, "content": pl.String}, orient="row")
    connection.register("made_now", frame.to_arrow())
    connection.execute("insert into lineage.made select *, now(), ? from made_now", [writes(connection, asset) + 1])


def writes(connection: duckdb.DuckDBPyConnection, asset: str) -> int:
    """The number of the newest record of an asset; 0 if there is none."""
    query = "select coalesce(max(number), 0) from lineage.made where asset = ?"
    return connection.execute(query, [asset]).fetchall()[0][0]


def forget(connection: duckdb.DuckDBPyConnection, asset: str, partitions: list[str]) -> None:
    """Record that these partitions have no fingerprints any more, so that they are out of date."""
    record(connection, asset, dict.fromkeys(partitions))

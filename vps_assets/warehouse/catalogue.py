"""What DuckDB's catalogue says of tables, and their names as SQL takes them."""

import duckdb


def quoted(name: str) -> str:
    """A table or column name as SQL takes it."""
    return '"' + name.replace('"', '""') + '"'


def table_exists(connection: duckdb.DuckDBPyConnection, table: str) -> bool:
    return bool(columns_of(connection, table))


def columns_of(connection: duckdb.DuckDBPyConnection, table: str) -> set[str]:
    """The columns of a table, as `name` or `schema.name`; none if there is no such table."""
    name = ".".join(map(quoted, table.split(".")))
    try:  # the catalogue's own tables of columns take ten times as long
        return {column for (column, *_) in connection.execute(f"describe {name}").fetchall()}
    except duckdb.CatalogException:
        return set()

"""Publications that tests make without a run."""

import duckdb

from vps_assets.home import Home


def published_again(home: Home, change: str) -> None:
    """Another publication, as a run puts it in the place of the one before: whole, by a rename."""
    other = home.analytics.with_name("other.duckdb")
    other.write_bytes(home.analytics.read_bytes())
    with duckdb.connect(str(other)) as connection:
        connection.execute(change)
    other.replace(home.analytics)

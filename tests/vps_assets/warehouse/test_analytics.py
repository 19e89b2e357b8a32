"""The analysts' published copy."""

import duckdb
import pytest
from prices import COMMITTED, ROWS, killed_after_commit, with_prices
from sales import with_the_sales

from vps_assets.home import Home
from vps_assets.warehouse.analytics import current, publish
from vps_assets.warehouse.database import Warehouse


@pytest.fixture
def warehouse(home: Home) -> Warehouse:
    return with_prices(home)


def test_the_published_copy_has_all_tables_and_is_renewed_only_when_stale(warehouse: Warehouse) -> None:
    assert publish(warehouse) is True
    assert publish(warehouse) is False
    with duckdb.connect(str(warehouse.home.analytics), read_only=True) as connection:
        assert connection.execute("select count(*) from prices").fetchall() == [(3,)]
    warehouse.replace("prices", ROWS.clear(), "true", [], {})
    assert publish(warehouse) is True


def test_an_analyst_who_never_closes_neither_blocks_nor_is_blocked(warehouse: Warehouse) -> None:
    publish(warehouse)
    with duckdb.connect(str(warehouse.home.analytics), read_only=True) as analyst:
        warehouse.replace("prices", ROWS.clear(), "true", [], {})
        publish(warehouse)
        assert analyst.execute("select count(*) from prices").fetchall() == [(3,)]
    with duckdb.connect(str(warehouse.home.analytics), read_only=True) as later:
        assert later.execute("select count(*) from prices").fetchall() == [(0,)]


def test_a_leftover_of_a_killed_publication_is_swept_away(warehouse: Warehouse) -> None:
    leftover = warehouse.home.path / ".analytics.dead.duckdb"
    leftover.write_text("half")
    publish(warehouse)
    assert not leftover.exists()


@pytest.fixture
def killed_writer(home: Home) -> Warehouse:
    return killed_after_commit(home)


def test_what_a_killed_writer_had_committed_is_published(killed_writer: Warehouse) -> None:
    assert not current(killed_writer.home)
    assert publish(killed_writer)
    with duckdb.connect(str(killed_writer.home.analytics), read_only=True) as analyst:
        assert analyst.execute("from prices order by all").fetchall() == COMMITTED
    assert current(killed_writer.home)


def test_the_published_copy_opens_with_the_state_beside_the_tables(home: Home) -> None:
    warehouse = with_the_sales(Warehouse(home))
    publish(warehouse)
    with duckdb.connect(str(warehouse.home.analytics), read_only=True) as connection:
        assert connection.execute("select sum(sales) from state.seller_statistics").fetchall() == [(4,)]

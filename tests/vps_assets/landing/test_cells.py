"""Dates over the full range of each format: each is read, or is a reason against its row, whatever the others are."""

import json
from datetime import UTC, date, datetime, timedelta
from pathlib import Path
from tempfile import TemporaryDirectory

import polars as pl
import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from hypothesis import example, given, settings
from hypothesis import strategies as st
from scenario import photo, quiet

from vps_assets.home import Home
from vps_assets.landing.files import RefusedFile, listing_file
from vps_assets.landing.land import land
from vps_assets.landing.landed import landed_rows

UNITS = {"s": 1, "ms": 10**3, "us": 10**6, "ns": 10**9}
INFINITY = 2**63 - 1
GOOD = datetime(2024, 1, 2, tzinfo=UTC)
FEWER = settings(max_examples=settings.default.max_examples // 3)
"""Of each: an example is two rows, landed."""
ID, ROW = "listing_id", ["listing_id", "listed_at", "landing_reasons", "row"]


@pytest.fixture(scope="module")
def images(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("images")
    photo(folder / "good.png")
    return folder


def landed(write: object, images: Path, suffix: str) -> list[dict]:
    """The rows of a file that `write` fills, by listing."""
    with TemporaryDirectory() as folder:
        home, file = Home(Path(folder) / "home"), Path(folder) / f"file{suffix}"
        write(file)  # type: ignore[operator]
        land([file], images, home, quiet)
        return landed_rows(home, ROW).sort(ID).to_dicts()


def holds(rows: list[dict], strange: datetime | None) -> None:
    """The second row is good whatever the first has, which was read as `strange`, or is a reason."""
    first, second = rows
    assert second["landing_reasons"] == []
    assert second["listed_at"] == GOOD
    if strange is None:
        assert first["listed_at"] is None
        assert first["landing_reasons"] == ["listed_at is not a timestamp"]
    else:
        assert first["listed_at"] == strange


def table(listed_at: pa.Array) -> pa.Table:
    return pa.table(
        {
            ID: ["L1", "L2"],
            "listed_at": listed_at,
            "category": ["phone"] * 2,
            "image_path": ["good.png"] * 2,
            "seen": listed_at,  # an unknown column is kept in the row alone
        }
    )


def moment(number: int, unit: str) -> datetime | None:
    """The moment that a Parquet timestamp names; None outside the years 1 to 9999."""
    try:
        return datetime(1970, 1, 1, tzinfo=UTC) + timedelta(microseconds=number * 10**6 // UNITS[unit])
    except OverflowError:
        return None


@FEWER
@given(
    st.integers(-(2**63) + 1, 2**63 - 1),
    st.sampled_from(["ms", "us", "ns"]),
    st.sampled_from([None, "UTC", "Asia/Tokyo"]),
)
@example(INFINITY, "us", None)
@example(-INFINITY, "us", "UTC")
@example(0, "us", "Asia/Tokyo")
def test_any_parquet_timestamp_is_read_or_a_reason(images: Path, number: int, unit: str, zone: str | None) -> None:
    good = round(GOOD.timestamp()) * UNITS[unit]
    column = pa.array([number, good], pa.timestamp(unit, zone))
    rows = landed(lambda file: pq.write_table(table(column), file), images, ".parquet")
    strange = moment(number, unit)
    if strange is not None and strange >= datetime(9999, 12, 31, tzinfo=UTC):
        strange = None  # its last day is the limit
    holds(rows, strange)
    if strange is None:
        assert str(number) in json.loads(rows[0]["row"])["listed_at"]
        assert str(number) in json.loads(rows[0]["row"])["seen"]


@FEWER
@given(st.integers(-(2**31), 2**31 - 1))
@example(2**31 - 1)
def test_any_parquet_date_is_read_or_a_reason(images: Path, days: int) -> None:
    column = pa.array([days, (GOOD.date() - date(1970, 1, 1)).days], pa.date32())
    rows = landed(lambda file: pq.write_table(table(column), file), images, ".parquet")
    try:
        strange = datetime(1970, 1, 1, tzinfo=UTC) + timedelta(days=days)
    except OverflowError:
        strange = None
    holds(rows, strange)


YEARS = st.integers(-300_000, 300_000).map(lambda year: f"{'-' if year < 0 else ''}{abs(year):04}")


@FEWER
@given(
    st.one_of(
        st.sampled_from(
            ["-0001-11-30", "+262000-01-01", "0000-00-00 00:00:00", "9999-12-31T23:59:59-23:59", "infinity"]
        ),
        st.tuples(
            YEARS, st.sampled_from(["-01-01", "-11-30 00:00:00", "-06-01T00:00:00Z", "-02-30", "-01-01T00:00:00+14:00"])
        ).map("".join),
    ),
    st.sampled_from([".csv", ".jsonl"]),
)
def test_any_text_that_looks_like_a_date_is_read_or_a_reason(images: Path, text: str, suffix: str) -> None:
    cells = [("L1", text, "phone", "good.png"), ("L2", GOOD.isoformat(), "phone", "good.png")]
    names = (ID, "listed_at", "category", "image_path")
    as_csv = "\n".join(map(",".join, [names, *cells])) + "\n"
    as_json = "\n".join(json.dumps(dict(zip(names, row, strict=True))) for row in cells) + "\n"
    rows = landed(lambda file: file.write_text(as_csv if suffix == ".csv" else as_json), images, suffix)
    first, second = rows
    assert second["landing_reasons"] == []
    assert first["landing_reasons"] or first["listed_at"] >= datetime(1995, 1, 1, tzinfo=UTC)
    assert json.loads(first["row"])["listed_at"] == text


@pytest.mark.parametrize(
    ("column", "words"),
    [
        (pa.array([1, 1], pa.timestamp("us", "Mars/Phobos")), "unable to parse time zone: 'Mars/Phobos'"),
        (pa.array([[INFINITY], []], pa.list_(pa.timestamp("us", "UTC"))), "out-of-range"),
    ],
    ids=["an unknown zone", "infinity within a list"],
)
def test_what_makes_a_reader_panic_refuses_the_file(tmp_path: Path, column: pa.Array, words: str) -> None:
    """Polars' panics are no `Exception`: they would pass every handler, and end the process."""
    pq.write_table(table(column), tmp_path / "a.parquet")
    with pytest.raises(RefusedFile, match=words):
        list(listing_file(tmp_path / "a.parquet").batches())


def test_a_row_without_an_impossible_time_is_kept_the_same_beside_one_with(images: Path) -> None:
    """Otherwise it would be another row whenever such a neighbour comes along."""

    def row_of(number: int) -> str:
        column = pa.array([number, round(GOOD.timestamp()) * 10**6], pa.timestamp("us", "UTC"))
        return landed(lambda file: pq.write_table(table(column), file), images, ".parquet")[1]["row"]

    assert row_of(INFINITY) == row_of(0)
    assert pl.Series([row_of(0)]).str.json_decode(pl.Struct({"listed_at": pl.String})).item()["listed_at"]

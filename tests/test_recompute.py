"""`docs/recompute.sql`: whoever doubts a figure computes it again from the published tables."""

import re

import pytest
from conftest import REPOSITORY, Marketplace

TEXT = (REPOSITORY / "docs" / "recompute.sql").read_text()
QUERIES = dict(re.findall(r"^-- name: (.+?)\n(.+?;)$", TEXT, re.DOTALL | re.MULTILINE))


@pytest.mark.parametrize("name", QUERIES)
def test_a_figure_of_the_report_is_that_of_the_published_predictions(marketplace: Marketplace, name: str) -> None:
    rows = marketplace.polars(QUERIES[name])
    assert rows.height > 0
    published = [column for column in rows.columns if column.startswith("published_")]
    assert published
    for column in published:
        theirs, ours = rows[column], rows[column.removeprefix("published_")]
        assert theirs.is_null().to_list() == ours.is_null().to_list(), column  # of no qualified listing
        assert ours.drop_nulls().to_list() == pytest.approx(theirs.drop_nulls().to_list(), rel=1e-9, abs=1e-12), column


def test_every_query_is_run() -> None:
    assert len(QUERIES) == TEXT.count("-- name: ") == 10

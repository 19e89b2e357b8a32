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
        theirs, ours = rows[column].to_list(), rows[column.removeprefix("published_")].to_list()
        assert ours == pytest.approx(theirs, rel=1e-9, abs=1e-12), column


def test_the_queries_are_six() -> None:
    assert len(QUERIES) == TEXT.count("-- name: ") == 6

"""One suggestion: what it loads, and what it says where there is nothing to suggest with."""

import subprocess
import sys
from pathlib import Path

import polars as pl
import pytest
from scenario import photo

from vps_assets.commands.suggest import NoChampion, listing_of_today, suggest_one
from vps_assets.home import Home
from vps_ml.features.tabular import TABULAR, TabularColumn, log_count

LOADS = """
import sys
from vps_assets.cli import main
sys.argv = ["vps", "suggest", sys.argv[1], "--category", "phone"]
try:
    main()
finally:
    print([name for name in ("dagster", "sklearn", "lightgbm", "matplotlib") if name in sys.modules])
"""


def test_a_suggestion_loads_no_dagster(tmp_path: Path) -> None:
    image = photo(tmp_path / "photo.png")
    ran = subprocess.run([sys.executable, "-c", LOADS, str(image)], capture_output=True, text=True)
    assert "there is no champion yet" in ran.stderr
    assert ran.stdout.strip() == "[]"


def test_there_is_none_without_a_champion(home: Home, tmp_path: Path) -> None:
    with pytest.raises(NoChampion, match="run `vps demo`"):
        suggest_one(tmp_path / "photo.jpg", "phone", None, home)


def test_a_column_that_the_seller_has_not_given_is_missing(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(TABULAR, "weight_g", TabularColumn(log_count))
    row = listing_of_today("phone", None)
    assert row["weight_g"].to_list() == [None]
    assert set(row.columns) == {"listed_on", "category", "seller_id", "weight_g"}  # statistics are joined to it
    assert row.schema["seller_id"] == pl.String

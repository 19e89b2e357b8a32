"""What is asked for items: by markets that do not say it, and by models that kept nothing."""

from pathlib import Path

import dagster as dg
import polars as pl

from vps_ml.artefacts import Artefacts
from vps_ml.cards import Contents
from vps_ml.ops.selling import SaleJob, fit_sale_chances, measure_sales, offered_by_inputs


def test_of_a_market_without_asking_prices_nothing_is_told(tmp_path: Path) -> None:
    """`price` is no column that a marketplace has to have."""
    job = SaleJob(pl.DataFrame(schema={"listing_id": pl.String}), {"photo": "m"}, Artefacts(tmp_path))
    for op in (fit_sale_chances, measure_sales):
        assert op(dg.build_op_context(), job).is_empty()


def test_a_model_of_older_code_says_nothing_of_asking_prices(tmp_path: Path) -> None:
    artefacts = Artefacts(tmp_path)
    artefacts.models.make("m", lambda: Contents({"kind": "pricing_model"}))
    job = SaleJob(pl.DataFrame({"listing_id": ["L1"]}), {"photo": "m"}, artefacts)
    assert list(offered_by_inputs(dg.build_op_context(), job)) == []

"""What would help a seller whose listing cannot be priced: measured, not guessed."""

import dagster as dg
import polars as pl

from vps_assets.assets.champion_decisions import champions_by_inputs
from vps_assets.assets.features import sold_features
from vps_assets.assets.options import WAREHOUSE, WRITER, op_chain
from vps_assets.tables.splits import in_fixed_order
from vps_assets.warehouse.settings import Settings
from vps_ml.features.roles import unseen
from vps_ml.ops.advice import AdviceJob, measure_advice

LISTINGS = 1000
"""Test listings, an arbitrary but fixed choice."""


@dg.op
def advice_job(settings: Settings, rows: pl.DataFrame, champion_model: pl.DataFrame) -> AdviceJob:
    """Test listings that none of the champions as they were judged, nor a backbone, has learnt from."""
    champions = {inputs: row["model_id"][0] for inputs, row in champions_by_inputs(champion_model).items()}
    cards = {inputs: settings.artefacts.models.card(model_id) for inputs, model_id in champions.items()}
    for card in cards.values():
        rows = rows.filter(pl.col(f"{card['split_kind']}_role") == "test")
        rows = unseen(rows, settings.artefacts, [card], card["split_kind"])
    return AdviceJob(in_fixed_order(rows).head(LISTINGS), champions, settings.artefacts)


@dg.op(out=dg.Out(io_manager_key=WAREHOUSE), pool=WRITER)
def record_advice(context: dg.OpExecutionContext, measured: pl.DataFrame) -> pl.DataFrame:
    """Write what helps how much."""
    for row in measured.to_dicts():
        name = f"{row['piece']}, priced by {row['inputs']}"
        context.add_output_metadata({name: f"{row['priced_share']:.0%} of {row['refused']} refused"})
    return measured


advice_gains = op_chain(
    "advice_gains",
    "evaluation",
    """How much a title, the brand, the condition, a photo or a sharper one helps listings that are refused without it.

Measured on test listings, each judged as it is and as if it had not the thing; `vps suggest` advises by it.
Key: piece and inputs (what the listing was priced by before).""",
    [sold_features, advice_job, measure_advice, record_advice],
)

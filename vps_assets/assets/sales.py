"""How fast items sell by what is asked for them: what a seller is told of her asking price, and how true it was."""

import dagster as dg
import polars as pl

from vps_assets.assets.champion_decisions import served_by_inputs
from vps_assets.assets.features import offered_features
from vps_assets.assets.options import WAREHOUSE, WRITER, op_chain
from vps_assets.warehouse.settings import Settings
from vps_ml.ops.selling import SaleJob, fit_sale_chances, measure_sales
from vps_ml.pricing.calibration import ALL


@dg.op
def sale_job(settings: Settings, rows: pl.DataFrame, champion_model: pl.DataFrame) -> SaleJob:
    """The listings with an asking price, and the models that price."""
    return SaleJob(rows, served_by_inputs(champion_model), settings.artefacts)


@dg.op(out=dg.Out(io_manager_key=WAREHOUSE), pool=WRITER)
def record_sale_chances(context: dg.OpExecutionContext, fitted: pl.DataFrame) -> pl.DataFrame:
    """Write them."""
    for row in fitted.filter(pl.col("category") == ALL).to_dicts() if fitted.height else []:
        name = f"sold within {row['within_days']} days of what is asked for as suggested ({row['inputs']})"
        context.add_output_metadata({name: row["chance"][len(row["chance"]) // 2]})
    return fitted


sale_chances = op_chain(
    "sale_chances",
    "suggestions",
    """How the chance of a sale goes with the asking price, in multiples of the suggested one; which price sells within
some days with some chance, and which brings most (docs/adr/0024).

Key: inputs, category and number of days. Empty with fewer than 200 sales that had an asking price.""",
    [offered_features, sale_job, fit_sale_chances, record_sale_chances],
)


@dg.op(out=dg.Out(io_manager_key=WAREHOUSE), pool=WRITER)
def record_sale_reports(context: dg.OpExecutionContext, measured: pl.DataFrame) -> pl.DataFrame:
    """Write the figures."""
    for row in measured.filter(pl.col("segment") == ALL).to_dicts() if measured.height else []:
        of = f"({row['inputs']}, {row['within_days']} days)"
        context.add_output_metadata(
            {f"Brier score {of}": row["brier"], f"Kaplan-Meier's {of}": row["brier_kaplan_meier"]}
        )
    return measured


sale_reports = op_chain(
    "sale_reports",
    "evaluation",
    """How well sales were foretold: calibration by tenths, and the Brier score beside what the category alone tells.

Each week of the newest days by what was known before it. Key: inputs, number of days and segment.""",
    [offered_features, sale_job, measure_sales, record_sale_reports],
)

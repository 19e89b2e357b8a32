"""The code location: collects what stands in the package, nothing clever. Imports no torch."""

import os
import warnings
from datetime import timedelta

import dagster as dg

from vps_assets.assets import (
    backbones,
    champion,
    checks,
    corruptions,
    embeddings,
    evaluation,
    listings,
    pricing,
    statistics,
    suggestions,
)
from vps_assets.assets import drift_checks as watching
from vps_assets.assets.options import WAREHOUSE
from vps_assets.home import Home
from vps_assets.orchestration import sensors
from vps_assets.orchestration.terminal import terminal_logger
from vps_assets.warehouse.io_manager import Settings, WarehouseIOManager
from vps_ml.allocator import keep_freed_memory

LAYERS = (listings, statistics, backbones, embeddings, pricing, evaluation, champion, corruptions, suggestions)


def settings_from_environment() -> Settings:
    """`VPS_HOME`, `VPS_RECIPE` and `VPS_WEIGHTS`, as they are when the code location loads."""
    return Settings(
        home=str(Home.from_environment().path),
        recipe_name=os.environ.get("VPS_RECIPE") or "demo",
        weights=os.environ.get("VPS_WEIGHTS", ""),
    )


keep_freed_memory()  # in every process that loads the code location: those that train and embed among them
settings = settings_from_environment()

FRESH = dg.FreshnessPolicy.time_window(fail_window=timedelta(hours=48), warn_window=timedelta(hours=26))
"""A day's listings should have come in, been judged and been priced by the day after, with an hour or two to spare."""
READ = ("evaluation_reports", "price_suggestions")
"""What people read: it is these that go stale, wherever the fault lies."""


def with_freshness(spec: dg.AssetSpec) -> dg.AssetSpec:
    return spec.replace_attributes(freshness_policy=FRESH) if spec.key.to_user_string() in READ else spec


warnings.filterwarnings("ignore", category=dg.PreviewWarning)  # map_asset_specs, in 1.13.27, which is pinned
defs = dg.Definitions(
    assets=dg.load_assets_from_modules(LAYERS),
    asset_checks=[*checks.all_checks(), *watching.all_warnings()],
    jobs=sensors.JOBS,
    sensors=sensors.SENSORS,
    resources={
        "settings": settings,
        WAREHOUSE: WarehouseIOManager(settings=settings),
        "io_manager": dg.FilesystemIOManager(base_dir=str(settings.at.op_outputs)),
    },
    loggers={"console": terminal_logger},
    # One process a run: training takes all cores anyway, and a process a step would cost 4 s each to start.
    executor=dg.in_process_executor,
).map_asset_specs(func=with_freshness)

"""The code location: collects what is defined below, nothing clever. Imports no torch.

Nothing is read when this module is imported: `defs` reads the environment and the landings when Dagster calls it.
"""

import os
import warnings
from datetime import date, timedelta
from functools import lru_cache

import dagster as dg

from vps_assets.assets import (
    advice,
    backbones,
    champion,
    checks,
    comparables,
    comparisons,
    corruptions,
    drift_checks,
    embeddings,
    evaluation,
    listings,
    out_of_bounds,
    pricing,
    ranges,
    sales,
    standing,
    statistics,
    suggestion_history,
    suggestions,
)
from vps_assets.assets.options import WAREHOUSE, daily_from
from vps_assets.home import DEFAULT_RECIPE, Home, executor_from_environment, private_files, tracked_by_mlflow
from vps_assets.landing.landed import first_landed_day
from vps_assets.lineage.graph import LINEAGE
from vps_assets.orchestration import sensors, services
from vps_assets.orchestration.terminal import terminal_logger
from vps_assets.orchestration.tracking import tracking
from vps_assets.tables.partitions import first_listing_date
from vps_assets.warehouse.io_manager import WarehouseIOManager
from vps_assets.warehouse.settings import Settings
from vps_ml.allocator import keep_freed_memory

ASSET_MODULES = (
    listings,
    statistics,
    backbones,
    embeddings,
    pricing,
    evaluation,
    out_of_bounds,
    comparisons,
    champion,
    ranges,
    corruptions,
    advice,
    suggestions,
    suggestion_history,
    comparables,
    sales,
)
FRESH = dg.FreshnessPolicy.time_window(fail_window=timedelta(hours=48), warn_window=timedelta(hours=26))
"""A day's listings should have come in, been judged and been priced by the day after, with an hour or two to spare."""
READ = ("evaluation_reports", "price_suggestions")
"""What people read: it is these that become stale, wherever the fault is."""


def settings_from_environment() -> Settings:
    """`VPS_HOME`, `VPS_WAREHOUSE`, `VPS_STORAGE`, `VPS_EXECUTOR`, `VPS_RECIPE`, `VPS_WEIGHTS` and `VPS_ENCODER`."""
    home = Home.from_environment()
    return Settings(
        data_directory=str(home.path),
        lake=home.lake,
        bucket=home.bucket,
        recipe_name=os.environ.get("VPS_RECIPE") or DEFAULT_RECIPE,
        executor=executor_from_environment(),
        weights=os.environ.get("VPS_WEIGHTS", ""),
        encoder=os.environ.get("VPS_ENCODER", ""),
    )


@dg.definitions
def defs() -> dg.Definitions:
    """Assets, checks, jobs and sensors, as the environment and what has landed set them.

    Raises:
        ValueError: a check is of no asset.
    """
    private_files()
    keep_freed_memory()  # in every process that loads the code location, those that train and embed among them
    settings = settings_from_environment()
    first_day = first_listing_date(first_landed_day(settings.home))
    return definitions_of(
        tuple(settings.model_dump().items()), first_day, sensors.default_status(), tracked_by_mlflow()
    )


@lru_cache(maxsize=1)
def definitions_of(
    setting_values: tuple[tuple[str, str], ...], first_day: date, status: dg.DefaultSensorStatus, tracked: bool
) -> dg.Definitions:
    """The definitions for these settings; a Dagster run asks for them several times."""
    settings = Settings(**dict(setting_values))
    asset_checks = [*checks.all_checks(), *drift_checks.all_warnings(), standing.standing]
    strays = {key.name for check in asset_checks for key in check.check_keys if name_of(key.asset_key) not in LINEAGE}
    if strays:
        raise ValueError(f"checks of no asset, which would never run: {', '.join(sorted(strays))}")
    dates = daily_from(first_day)

    def in_place(spec: dg.AssetSpec) -> dg.AssetSpec:
        asset = name_of(spec.key)
        if asset not in LINEAGE:
            return spec  # a service: nobody makes it here
        if LINEAGE[asset].partitions == "day":
            spec = spec.replace_attributes(partitions_def=dates)
        return spec.replace_attributes(freshness_policy=FRESH) if asset in READ else spec

    warnings.filterwarnings("ignore", category=dg.PreviewWarning)  # map_asset_specs, in 1.13.27, which is pinned
    return dg.Definitions(
        assets=[*dg.with_source_code_references(dg.load_assets_from_modules(ASSET_MODULES)), services.SERVICE],
        asset_checks=asset_checks,
        jobs=[*sensors.JOBS, champion.rollback_job],
        sensors=sensors.all_sensors(status),
        schedules=[sensors.nightly_retention(status)],
        resources={
            "settings": settings,
            "mlflow": tracking(tracked),
            WAREHOUSE: WarehouseIOManager(settings=settings),
            "io_manager": dg.FilesystemIOManager(base_dir=str(settings.home.op_outputs)),
        },
        loggers={"console": terminal_logger},
        # One process a run: training takes all cores anyway, and a process a step would cost 4 s each to start.
        executor=dg.in_process_executor,
    ).map_asset_specs(func=in_place)


def name_of(key: dg.AssetKey) -> str:
    return key.to_user_string()

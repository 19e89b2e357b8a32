"""What nobody will look at again, deleted after a while: records of old runs, and models and embeddings without a use.

Each run leaves a database of its own and its logs, each retraining its models, each change of a date its embeddings.
"""

import os
import shutil
from contextlib import suppress
from datetime import datetime, timedelta
from pathlib import Path

import dagster as dg
import polars as pl

from vps_assets.errors import WrongSetting
from vps_assets.home import Home
from vps_assets.orchestration.internals import FINISHED_STATUSES, SqliteEventLogStorage
from vps_assets.tables.models import CHAMPION_HISTORY
from vps_assets.tables.schemas import aligned
from vps_assets.warehouse.database import Warehouse
from vps_assets.warehouse.named_files import EMBEDDINGS, MODEL_TABLES
from vps_assets.warehouse.publication import publication_of
from vps_ml.artefacts import SOLD_ITEMS, id_in_path
from vps_ml.atomic import untouched
from vps_ml.stores import DamagedArtefact, Store

SETTING, DEFAULT_DAYS = "VPS_KEEP_DAYS", 30.0
AT_A_TIME = 200
CHAMPIONS_KEPT = 5
"""Models that were in force, the newest of each kind of inputs, stay whole for a rollback."""
UNFINISHED_DAYS = 3.0
"""Embeddings and sold items that no table names may be of a run that is under way; for so long."""


def days_from_environment() -> float:
    """`VPS_KEEP_DAYS`.

    Raises:
        WrongSetting: it is no positive number.
    """
    text = os.environ.get(SETTING) or str(DEFAULT_DAYS)
    with suppress(ValueError):
        if (days := float(text)) > 0:
            return days
    raise WrongSetting(f"{SETTING}: {text!r} is not a number of days, such as {DEFAULT_DAYS:g}")


def forget_old_runs(instance: dg.DagsterInstance, days: float) -> int:
    """Delete the records of runs that ended so many days ago; how many.

    What the UI shows of assets (when each partition was made, checks, figures) stays: those events are kept by asset.
    A run's own events and logs go, and *Runs* lists it no more.
    """
    before = datetime.now().astimezone() - timedelta(days=days)
    old = dg.RunsFilter(statuses=list(FINISHED_STATUSES), updated_before=before)
    forgotten = 0
    while runs := instance.get_runs(old, limit=AT_A_TIME):
        for run in runs:
            forget_run(instance, run.run_id)
        forgotten += len(runs)
    return forgotten


def forget_run(instance: dg.DagsterInstance, run_id: str) -> None:
    """Delete a run's record, its database of events and its logs."""
    instance.run_storage.delete_run(run_id)
    storage = instance.event_log_storage
    if isinstance(storage, SqliteEventLogStorage):
        database = Path(storage.path_for_shard(run_id))
        for path in (database, *(database.with_name(database.name + end) for end in ("-wal", "-shm"))):
            path.unlink(missing_ok=True)
        storage._initialized_dbs.discard(run_id)  # or it would take a new file for one with tables
    else:
        storage.delete_events(run_id)
    shutil.rmtree(Path(instance.storage_directory()) / run_id, ignore_errors=True)


def forget_unused_artefacts(home: Home, days: float) -> int:
    """Delete models that no table names, and what only they need, once they are old; date files of embeddings too.

    Kept are the models of the present tables and the newest champions, with all that these need, and what was made
    within `days`. Nothing is deleted unless every table says what it names and has passed its checks.
    """
    warehouse, artefacts = Warehouse(home), home.artefacts
    files = warehouse.known().files
    if {asset for asset, _ in files} < {*MODEL_TABLES, *EMBEDDINGS} or warehouse.unchecked():
        return 0  # as after a loss, while all is made again
    named = {asset: set().union(*(paths for (name, _), paths in files.items() if name == asset)) for asset, _ in files}
    dates = {path for asset in EMBEDDINGS for path in named.pop(asset, set())}
    models = {id_in_path(path) for paths in named.values() for path in paths} | newest_champions(warehouse)
    if not all(model_id in artefacts.models for model_id in models):
        return 0  # a damaged one does not say what it needs
    used = {need for model_id in models for need in closure(home, model_id)}
    used |= {(artefacts.embeddings.folder, id_in_path(path.rpartition("/")[0])) for path in dates}
    deleted = 0
    for store in (artefacts.models, artefacts.embeddings):
        unused = [artefact_id for artefact_id in store.ids() if (store.folder, artefact_id) not in used]
        superseded = [artefact_id for artefact_id in unused if kind_of(store, artefact_id) == SOLD_ITEMS]
        for artefact_id in {*store.untouched(unused, days), *store.untouched(superseded, UNFINISHED_DAYS)}:
            store.delete(artefact_id)
            deleted += 1
        for aside in untouched([*store.folder.glob(".*.damaged"), *store.folder.glob("*/.*.damaged")], days):
            remove(aside)
            deleted += 1
    for path in artefacts.untouched_date_files(UNFINISHED_DAYS) - dates:
        artefacts.delete(path)
        deleted += 1
    return deleted


def forget_old_snapshots(home: Home, days: float) -> int:
    """Delete what only snapshots of a lake hold that are older and not published; how many snapshots."""
    return publication_of(Warehouse(home)).forget(days)


def kind_of(store: Store, artefact_id: str) -> str | None:
    """What an artefact is; None of one that does not say so."""
    try:
        return store.card(artefact_id).get("kind")
    except (DamagedArtefact, FileNotFoundError):
        return None


def remove(path: Path) -> None:
    """Delete a file, or a folder with all that is in it."""
    if path.is_dir():
        shutil.rmtree(path, ignore_errors=True)
    else:
        path.unlink(missing_ok=True)


def newest_champions(warehouse: Warehouse) -> set[str]:
    """Those in force, the last models that were for each kind of inputs, and what they were served as."""
    in_force = warehouse.read("champion_model", columns=["model_id"])
    kept: set[str] = set() if in_force is None else set(in_force["model_id"])
    history = warehouse.read("champion_history", "decision <> 'refused'")
    if history is None:
        return kept
    newest_first = aligned(history, CHAMPION_HISTORY).sort("decided_at", descending=True)
    for (_,), rows in newest_first.with_columns(pl.col("inputs").fill_null("photo")).group_by("inputs"):
        own = rows["model_id"].unique(maintain_order=True)[:CHAMPIONS_KEPT]
        kept |= {*own, *rows.filter(pl.col("model_id").is_in(own.implode()))["served_as"].drop_nulls()}
    return kept


def closure(home: Home, model_id: str) -> list[tuple[Path, str]]:
    """(folder, id) of a model and of everything that it needs."""
    needed = [(home.artefacts.models, model_id), *home.artefacts.needed_by(model_id)]
    return [(store.folder, needed_id) for store, needed_id in needed]

"""`vps forget --seller S`: a seller's rows and photos are removed, from every place where they are kept.

It begins by noting what is to be removed, under `erasures/`, and ends by deleting that note: an erasure that was
interrupted is completed by asking for it again.
"""

import hashlib
import json
import shutil
import time
from contextlib import suppress
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path

import dagster as dg
import polars as pl

from vps_assets.assets.champion_decisions import champion_rows
from vps_assets.errors import UserError
from vps_assets.home import Home
from vps_assets.landing.files import RefusedFile, listing_file
from vps_assets.landing.inbox import dropped, take_in
from vps_assets.landing.landed import all_landed
from vps_assets.landing.packs import rewrite_landings
from vps_assets.lineage.planning import Request
from vps_assets.orchestration.instance import UNFINISHED, free_dead_runs, open_instance
from vps_assets.orchestration.retention import forget_run, kind_of
from vps_assets.orchestration.run import Progress, run_lineage
from vps_assets.sweeping import sweep
from vps_assets.warehouse.database import Warehouse
from vps_assets.warehouse.erasure import Said, erase_rows, erase_said
from vps_assets.warehouse.named_files import EMBEDDINGS
from vps_assets.warehouse.publication import publication_of
from vps_ml import durable
from vps_ml.artefacts import SOLD_ITEMS
from vps_ml.atomic import whole_file
from vps_ml.cards import identity
from vps_ml.features.roles import ITEM, learnt_items
from vps_ml.recipes import Recipe
from vps_ml.stores import DAMAGED_PATTERN

SETTLED_S = 60.0
"""A file in the inbox that has not changed for this long is complete."""
REMAINING = ("listing_id", "photo_hash", "image_path", "group_id")
"""Columns of the landings that identify a seller's listings, photos and items."""


class NotYet(UserError):
    """A file that names the seller is still being copied, or cannot be landed: nothing has been removed."""


class NothingToForget(UserError):
    """No row of this seller has landed."""


@dataclass(frozen=True)
class Erasure:
    """What is to be removed."""

    seller: str
    listings: list[str]
    photos: list[str]
    """Hashes."""
    image_paths: list[str]
    groups: list[str]
    embeddings: list[str]
    """Files that hold features of the listings' photos or words (`path` of the tables `EMBEDDINGS`)."""

    @property
    def key(self) -> str:
        """Where the erasure is noted while it goes on, under the data directory and in the bucket."""
        return f"erasures/{identity(self.seller)}.json"

    def note(self, home: Home) -> Path:
        """The note on this disk."""
        return home.path / self.key


@dataclass(frozen=True)
class Forgotten:
    """What was removed, and which models learnt from it before."""

    listings: int
    photos: int
    shared_photos: int
    """Kept: other sellers' rows show the same."""
    models: dict[str, list[str]]
    """Kind -> ids, the champion's first."""
    unread: list[str]
    """Files of the inbox that cannot be read as listings, and contain the seller's id."""


def forget(home: Home, recipe: Recipe, seller: str, progress: Progress) -> Forgotten:
    """Remove a seller: landed rows, inbox files, photos, embeddings, tables, the analysts' copy, pictures in the UI.

    Rows, photos and the sold items that comparables are searched in are removed first, everywhere; then whatever was
    made from them and other sellers' rows is made again. Models are kept until they are fitted again, kernel machines,
    their own comparables, out-of-fold prices and worse copies too, which are features (and prices, ids, or hashes) of
    single listings; those that learnt from the seller's items are named, and `EVERYTHING_FITTED` fits all of them
    without.

    Raises:
        NothingToForget: no row of this seller has landed, and no erasure was interrupted.
        NotYet: a waiting file names the seller and cannot be landed now; nothing has been removed.
        RunFailed: rows and photos are removed, and the run that follows failed; asking again continues.
    """
    Warehouse(home).refuse_if_lost()
    with open_instance(home):
        pass  # it is needed once rows are gone: what is wrong with it is said before
    land_waiting_files(home, seller, progress)
    erasure = noted(home, seller, erasure_of(home, seller))
    progress(f"{len(erasure.listings)} listings and {len(erasure.photos)} photos are to be removed")
    models = models_with_items(home, erasure)
    rewrite_landings(home, seller)
    others = all_landed(home, REMAINING)
    shared = set(others.filter(pl.col("photo_hash").is_in(erasure.photos))["photo_hash"].drop_nulls())
    gone = sorted(set(erasure.photos) - shared)
    unread = empty_inbox(home, erasure, set(gone))
    for photo in gone:
        home.artefacts.delete(home.artefacts.photo_key(photo))
    no_more = sorted(set(erasure.listings) - set(others["listing_id"]))
    said = Said(erasure.listings, datetime.now(UTC))
    erase_rows(Warehouse(home), seller, no_more, said)
    publication_of(Warehouse(home)).erase(seller, no_more, said)
    delete_sold_items(home)
    remove_run_pictures(home)
    home.report.unlink(missing_ok=True)
    progress("rows and photos are removed; what was made from them and others is made again")
    if others.height:
        run_lineage(home, recipe, Request(), progress)
    delete_unused_embeddings(home)
    erase_said(Warehouse(home), said)
    publication_of(Warehouse(home)).leave_no_trace(seller, no_more, said)
    sweep(home)  # what killed processes have left of the rows
    durable.sync_everything([home.path, home.landing, home.photos])  # what is forgotten does not come back
    erasure.note(home).unlink()
    if (bucket := home.artefacts.bucket) is not None:
        bucket.delete([erasure.key])
    durable.sync(home.erasures)
    return Forgotten(len(erasure.listings), len(gone), len(shared), models, unread)


def land_waiting_files(home: Home, seller: str, progress: Progress) -> None:
    """Land the inbox's files that name the seller, so that other sellers' rows in them are not lost."""
    waiting = [file for file in dropped(home.inbox) if names_seller(home.inbox / file.name, seller)]
    young = [file.name for file in waiting if time.time() - file.modified_ns / 1e9 < SETTLED_S]
    if young:
        raise NotYet(f"{', '.join(young)} names the seller and may still be coming in: ask again in a minute")
    taken = take_in([file.name for file in waiting], home, progress)
    if wrong := taken.failed | taken.refused:
        raise NotYet(f"a waiting file names the seller and did not land: {'; '.join(wrong.values())}")


def erasure_of(home: Home, seller: str) -> Erasure:
    """Everything that is a seller's."""
    rows = all_landed(home, REMAINING, seller)
    groups = rows.select(pl.coalesce("group_id", "photo_hash")).to_series()
    columns = (rows["listing_id"], rows["photo_hash"], rows["image_path"], groups)
    listings, photos, paths, items = (column.drop_nulls().unique().sort().to_list() for column in columns)
    of_listings = "list_contains(?, listing_id)", [listings], ["path"]
    tables = (Warehouse(home).read(table, *of_listings) for table in EMBEDDINGS)
    embeddings = sorted({path for stored in tables if stored is not None for path in stored["path"]})
    return Erasure(seller, listings, photos, paths, items, embeddings)


def noted(home: Home, seller: str, new: Erasure) -> Erasure:
    """The erasure, with what an interrupted one had still to remove; written down before anything is removed.

    Raises:
        NothingToForget: there is neither.
    """
    note, bucket = new.note(home), home.artefacts.bucket
    if bucket is not None and not note.exists():
        bucket.fetch(new.key, note)  # of an erasure that another host has begun
    if not all_landed(home, REMAINING, seller).height and not note.exists():
        raise NothingToForget(f"no row of seller {seller!r} has landed")
    parts = [vars(new)] + ([json.loads(note.read_text())] if note.exists() else [])
    fields = ("listings", "photos", "image_paths", "groups", "embeddings")
    both = Erasure(seller, *(sorted({value for part in parts for value in part[field]}) for field in fields))
    with whole_file(note) as temporary:
        temporary.write_text(json.dumps(vars(both)))
    if bucket is not None:
        bucket.replace(new.key, note)
    return both


def models_with_items(home: Home, erasure: Erasure) -> dict[str, list[str]]:
    """The artefacts that learnt from the seller's items, by kind; the champion's first."""
    models = home.artefacts.models
    champions = champion_rows(Warehouse(home))
    in_force = {*champions["model_id"], *champions["served_as"].drop_nulls()}
    found: dict[str, list[str]] = {}
    for model_id in sorted(models.ids(), key=lambda model_id: (model_id not in in_force, model_id)):
        items = learnt_items(home.artefacts, model_id)
        if items is not None and touches(items, erasure):
            found.setdefault(models.card(model_id).get("kind", "model"), []).append(model_id)
    return found


def touches(items: pl.DataFrame, erasure: Erasure) -> bool:
    """Whether the seller's items are among these."""
    group, photo = ITEM
    return bool(items.select((pl.col(group).is_in(erasure.groups) | pl.col(photo).is_in(erasure.photos)).any()).item())


def empty_inbox(home: Home, erasure: Erasure, photos: set[str]) -> list[str]:
    """Delete the landed and refused files that name the seller, and these photos, from the inbox.

    Returns:
        the files that cannot be read and contain the seller's id: somebody has to look.
    """
    unread = []
    waiting = [home.inbox / file.name for file in dropped(home.inbox)]
    for file in [*waiting, *home.inbox.glob("landed/*"), *home.inbox.glob("refused/*")]:
        if file.is_symlink() or not file.is_file():
            continue
        names = names_seller(file, erasure.seller)
        if names and file not in waiting:
            file.unlink()
        elif names is None and erasure.seller.encode() in file.read_bytes():
            unread.append(str(file))
    for image_path in erasure.image_paths:
        with suppress(OSError, ValueError, RuntimeError):  # a path that no photo can have
            photo = (home.inbox / image_path).resolve()
            inside = photo.is_relative_to(home.inbox.resolve()) and photo.is_file()
            if inside and hashlib.sha256(photo.read_bytes()).hexdigest() in photos:
                photo.unlink()
    return unread


def names_seller(file: Path, seller: str) -> bool | None:
    """Whether a listing file has rows of the seller; None if it cannot be read."""
    try:
        opened = listing_file(file)
        if "seller_id" not in opened.columns:
            return False
        id_as_it_lands = pl.col("seller_id").cast(pl.String).str.strip_chars()
        return bool(opened.rows.select((id_as_it_lands == seller).any()).collect(engine="streaming").item())
    except (RefusedFile, pl.exceptions.PolarsError):
        return None


def remove_run_pictures(home: Home) -> None:
    """Delete Dagster's records of the runs of `raw_listings`, whose contact sheets show photos, and op outputs."""
    key = dg.AssetKey("raw_listings")
    with open_instance(home) as instance:
        free_dead_runs(instance, wait=True)
        runs = {run.run_id for run in instance.get_runs() if key in (run.asset_selection or ())}
        cursor, more = None, True
        while more:
            page = instance.fetch_materializations(key, limit=1000, cursor=cursor)
            runs |= {record.run_id for record in page.records}
            cursor, more = page.cursor, page.has_more
        for run_id in runs:
            instance.delete_run(run_id)
            forget_run(instance, run_id)
        instance.wipe_assets([key])  # last: the runs are found through it
        unfinished = {run.run_id for run in instance.get_runs(dg.RunsFilter(statuses=UNFINISHED))}
    for folder in home.op_outputs.glob("*"):
        if folder.name not in unfinished:
            shutil.rmtree(folder, ignore_errors=True)


def delete_sold_items(home: Home) -> None:
    """Delete the sold items that comparables are searched in: the run that follows keeps them without the seller's."""
    models = home.artefacts.models
    for artefact_id in models.ids():
        if kind_of(models, artefact_id) == SOLD_ITEMS:
            models.delete(artefact_id)
    for folder in models.folder.glob(DAMAGED_PATTERN):  # what is damaged may not say what it was
        shutil.rmtree(folder, ignore_errors=True)


def delete_unused_embeddings(home: Home) -> None:
    """Delete the date files of embeddings that no table names: superseded or damaged ones may be of the seller."""
    tables = (Warehouse(home).read(table, columns=["path"]) for table in EMBEDDINGS)
    named = {path for stored in tables if stored is not None for path in stored["path"]}
    for key in home.artefacts.date_files():
        if key not in named:
            home.artefacts.delete(key)

"""`vps forget --seller S`: a seller's rows and photos are removed, from every place where they are kept.

It begins by noting what is to go, under `erasures/`, and ends by deleting that note: one that was broken off is
carried through by asking again.
"""

import json
from dataclasses import dataclass
from pathlib import Path

import polars as pl

from vps_assets.home import Home
from vps_assets.landing_files import RefusedFile, listing_file
from vps_assets.resources.warehouse import Warehouse
from vps_assets.runs import Progress, Request, run_lineage
from vps_ml.pricing_table import ITEM, LEARNT, ROLES
from vps_ml.recipes import Recipe
from vps_ml.store import CARD, card, identity, whole_file

ERASURES = "erasures"


class NothingToForget(LookupError):
    """No row of this seller has landed."""


@dataclass(frozen=True)
class Erasure:
    """What is to go."""

    seller: str
    listings: list[str]
    photos: list[str]
    """Hashes."""
    image_paths: list[str]
    groups: list[str]

    @property
    def note(self) -> str:
        return f"{ERASURES}/{identity(self.seller)}.json"


@dataclass(frozen=True)
class Forgotten:
    """What was removed, and which models learnt from it before."""

    listings: int
    photos: int
    shared_photos: int
    """Kept: other sellers' rows show the same."""
    models: dict[str, list[str]]
    """Kind -> ids, the champion's first."""


def forget(home: Home, recipe: Recipe, seller: str, progress: Progress) -> Forgotten:
    """Remove a seller: landed rows, inbox files, photos, embeddings, tables, the analysts' copy, pictures in the UI.

    Models are kept, for a weight cannot be told apart by whom it came from; those that learnt from the seller's items
    are named, and `vps run --select price_bounds+` fits all of them without.

    Raises:
        NothingToForget: no row of this seller has landed, and no erasure was broken off.
        RunFailed: what is made of the remaining rows could not be made; asking again goes on from there.
    """
    erasure = noted(home, seller, found(home, seller))
    progress(f"{len(erasure.listings)} listings and {len(erasure.photos)} photos are to go")
    models = taught_by(home, erasure)
    rewrite_landings(home, seller)
    empty_inbox(home, erasure)
    shared = set(landed(home).filter(pl.col("photo_hash").is_in(erasure.photos))["photo_hash"].drop_nulls())
    gone = [photo for photo in erasure.photos if photo not in shared]
    for photo in gone:
        home.photo(photo).unlink(missing_ok=True)
    progress("landings and photos are removed; the tables follow")
    forget_pictures(home)
    run_lineage(home, recipe, Request(selection="raw_listings"), progress)
    run_lineage(home, recipe, Request(), progress)
    for path in unused_embeddings(home):
        path.unlink(missing_ok=True)
    (home.path / "reports" / "evaluation.html").unlink(missing_ok=True)
    Warehouse(home).rewrite()
    Warehouse(home).publish()
    (home.path / erasure.note).unlink()
    return Forgotten(len(erasure.listings), len(gone), len(shared), models)


def landed(home: Home, seller: str | None = None) -> pl.DataFrame:
    """All rows that ever landed, in force or not; a seller's, where one is named."""
    files = sorted(home.landing.glob("*.parquet"))
    if not files:
        return pl.DataFrame(schema=dict.fromkeys(("listing_id", "photo_hash", "image_path", "group_id"), pl.String))
    rows = pl.scan_parquet(files)
    kept = rows if seller is None else rows.filter(pl.col("seller_id") == seller)
    return kept.select("listing_id", "photo_hash", "image_path", "group_id").collect()


def found(home: Home, seller: str) -> Erasure:
    """What there is of a seller."""
    rows = landed(home, seller)
    groups = rows.select(pl.coalesce("group_id", "photo_hash")).to_series()
    columns = (rows["listing_id"], rows["photo_hash"], rows["image_path"], groups)
    return Erasure(seller, *(column.drop_nulls().unique().sort().to_list() for column in columns))


def noted(home: Home, seller: str, new: Erasure) -> Erasure:
    """The erasure with what an earlier one that was broken off had still to remove; written down before anything goes.

    Raises:
        NothingToForget: there is neither.
    """
    note = home.path / new.note
    if not landed(home, seller).height and not note.exists():
        raise NothingToForget(f"no row of seller {seller!r} has landed")
    parts = [vars(new)] + ([json.loads(note.read_text())] if note.exists() else [])
    fields = ("listings", "photos", "image_paths", "groups")
    both = Erasure(seller, *(sorted({value for part in parts for value in part[field]}) for field in fields))
    with whole_file(note) as temporary:
        temporary.write_text(json.dumps(vars(both)))
    return both


def taught_by(home: Home, erasure: Erasure) -> dict[str, list[str]]:
    """The artefacts that learnt from the seller's items, by kind; the champion's first."""
    taught: dict[str, list[str]] = {}
    champion = Warehouse(home).read("champion_model")
    in_force = set(champion["model_id"]) if champion is not None else set()
    folders = [path.parent for path in home.models.glob(f"[!.]*/{CARD}")]
    for folder in sorted(folders, key=lambda folder: (folder.name not in in_force, folder.name)):
        about = card(folder)
        if (items := learnt(folder, about)) is not None and touches(items, erasure):
            taught.setdefault(about.get("kind", "model"), []).append(folder.name)
    return taught


def learnt(folder: Path, about: dict) -> pl.DataFrame | None:
    """The items that an artefact was trained or calibrated on; None where it is no model."""
    if (folder / LEARNT).exists():
        return pl.read_parquet(folder / LEARNT)
    roles = folder.parent / str(about.get("roles_id")) / ROLES
    if not roles.exists():
        return None
    rows = pl.read_parquet(roles)
    sides = [f"{split}_role" for split in ([about["split_kind"]] if "split_kind" in about else ["group", "time"])]
    used = pl.any_horizontal(pl.col(side).is_in(["train", "validation"]) for side in sides)
    return rows.filter(used).select(ITEM)


def touches(items: pl.DataFrame, erasure: Erasure) -> bool:
    """Whether the seller's items are among these."""
    group, photo = ITEM
    return bool(items.select((pl.col(group).is_in(erasure.groups) | pl.col(photo).is_in(erasure.photos)).any()).item())


def rewrite_landings(home: Home, seller: str) -> None:
    """Take the seller's rows out of the landings, each file by one rename; a file of nobody else's goes."""
    for file in sorted(home.landing.glob("*.parquet")):
        rows = pl.scan_parquet(file)
        others = pl.col("seller_id").is_null() | (pl.col("seller_id") != seller)
        counts = rows.select(pl.len().alias("all"), others.sum().alias("others")).collect().row(0, named=True)
        if counts["others"] == counts["all"]:
            continue
        if not counts["others"]:
            file.unlink()
            continue
        with whole_file(file) as temporary:
            rows.filter(others).sink_parquet(temporary, compression="zstd")


def empty_inbox(home: Home, erasure: Erasure) -> None:
    """Delete the files in the inbox that name the seller, or cannot tell, and the seller's photos beside them."""
    for file in [*home.inbox.glob("*"), *home.inbox.glob("landed/*"), *home.inbox.glob("refused/*")]:
        if file.is_file() and not file.is_symlink() and names(file, erasure.seller):
            file.unlink()
    for image_path in erasure.image_paths:
        photo = (home.inbox / image_path).resolve()
        if photo.is_relative_to(home.inbox.resolve()) and photo.is_file():
            photo.unlink()


def names(file: Path, seller: str) -> bool:
    """Whether a listing file has rows of the seller; of a file that is none, whether it has the name in it."""
    try:
        opened = listing_file(file)
        if "seller_id" not in opened.columns:
            return False
        told = opened.rows.select((pl.col("seller_id").cast(pl.String) == seller).any()).collect(engine="streaming")
        return bool(told.item())
    except (RefusedFile, pl.exceptions.PolarsError):
        return file.suffix.lower() not in {".jpg", ".jpeg", ".png", ".webp"} and seller.encode() in file.read_bytes()


def forget_pictures(home: Home) -> None:
    """Wipe what Dagster keeps of `raw_listings`: its contact sheets show photos. The next run makes them anew."""
    import dagster as dg

    from vps_assets.instance import open_instance

    with open_instance(home) as instance:
        instance.wipe_assets([dg.AssetKey("raw_listings")])


def unused_embeddings(home: Home) -> list[Path]:
    """Files of embeddings that no row names any more."""
    stored = Warehouse(home).read("image_embeddings", columns=["path"])
    used = set(stored["path"]) if stored is not None else set()
    return [
        path for path in home.path.glob("embeddings/*/*.safetensors") if str(path.relative_to(home.path)) not in used
    ]

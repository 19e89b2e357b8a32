"""Artefacts: immutable results, each named by the id of what determines it.

No other module knows where they are. A job carries ids, and an `Artefacts` turns them into what was stored.
"""

import shutil
from collections.abc import Callable, Collection, Iterable
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from pathlib import Path

from vps_ml.atomic import untouched
from vps_ml.buckets import Bucket, in_parallel
from vps_ml.cards import CARD, Contents
from vps_ml.stores import Store

NEEDS = ("feature_map_id", "roles_id", "blend_id")
"""Keys of a card that name other models without which this one cannot be used; `embedding_id` names embeddings."""
PHOTO_PATH = "photos/{}/{}"
"""A landed photo's path under the data directory: the first two digits of the SHA-256 of its bytes, and all of it."""
SOLD_ITEMS = "sold_items"
"""`kind` in the card of sold items that comparables are searched in: photos' features and prices, made anew with every
sale, and deleted with every seller who is forgotten."""


@dataclass(frozen=True)
class Artefacts:
    """Everything under the data directory that is named by its content: models, embeddings, photos."""

    root: Path
    address: str = ""
    """Of a bucket that other hosts share; `root` then holds copies of what is in it."""

    @property
    def bucket(self) -> Bucket | None:
        return Bucket(self.address) if self.address else None

    @property
    def models(self) -> Store:
        """Backbones, feature maps, roles, price models and baselines."""
        return Store(self.root / "models", self.bucket)

    @property
    def embeddings(self) -> Store:
        """Sets of embeddings, each of one set of backbones; a set's date files lie beside its card."""
        return Store(self.root / "embeddings", self.bucket)

    def needed_by(self, model_id: str) -> list[tuple[Store, str]]:
        """Where what a model's card names is stored, without which the model cannot be used."""
        card = self.models.card(model_id)
        needed = [(self.models, card[key]) for key in NEEDS if key in card]
        if (text_id := card.get("text_id")) is not None:
            needed.append((self.embeddings, text_id))
            if text_id in self.embeddings and (encoder_id := self.embeddings.card(text_id)["encoder_id"]):
                needed.append((self.models, encoder_id))
        if (embedding_id := card.get("embedding_id")) is not None:
            needed.append((self.embeddings, embedding_id))
            if embedding_id in self.embeddings:
                paths = self.embeddings.card(embedding_id)["backbones"].values()
                needed += [(self.models, id_in_path(path)) for path in paths]
        return needed

    def usable(self, model_id: str) -> bool:
        """Whether a model and everything that it needs are there, and whole by the length of their files."""
        return not self.unusable([model_id])

    def unusable(self, model_ids: Collection[str]) -> set[str]:
        """Those of these models that cannot be used; what several of them need is looked at once."""
        whole: dict[tuple[str, str], bool] = {}

        def there(store: Store, artefact_id: str) -> bool:
            key = (store.folder.name, artefact_id)
            if key not in whole:
                whole[key] = artefact_id in store
            return whole[key]

        return {
            one
            for one in model_ids
            if not (there(self.models, one) and all(there(*needed) for needed in self.needed_by(one)))
        }

    def make_usable(self, model_id: str, fill: Callable[[], Contents]) -> str:
        """Make the model unless it can be used; its id. `fill` makes also what the model needs."""
        if model_id in self.models and not self.usable(model_id):
            self.models.set_aside(model_id)
        return self.models.make(model_id, fill)

    def model_path(self, model_id: str) -> str:
        """A model's folder under the data directory, as the tables' column `path` has it (see `id_in_path`)."""
        return f"models/{model_id}"

    def embedding_path(self, embedding_id: str, day: str, digest: str) -> str:
        """A date's file under the data directory, as the tables `image_embeddings` and `text_embeddings` name it."""
        return f"embeddings/{embedding_id}/{day}-{digest}.safetensors"

    def embedding_file(self, embedding_path: str) -> Path:
        """The file of an `embedding_path`; there is none where nothing was embedded."""
        return self.copy(embedding_path)

    def share_embeddings(self, embedding_paths: Collection[str]) -> None:
        """Let other hosts have some dates' files; where one of them was first, that one's is everybody's."""
        if self.bucket is None:
            return
        there = {one.key for one in self.bucket.listed("embeddings/")}
        for path in sorted(set(embedding_paths) - there):
            if not self.bucket.create(path, self.root / path):
                self.bucket.fetch(path, self.root / path)

    def share_everything(self) -> None:
        """Put what this disk has in the bucket, as when a bucket is first used."""
        if self.bucket is None:
            return
        for store in (self.models, self.embeddings):
            for path in store.folder.glob(f"[!.]*/{CARD}"):
                store.share(path.parent.name)
        self.share_embeddings(
            {str(path.relative_to(self.root)) for path in self.root.glob("embeddings/*/[!.]*.safetensors")}
        )
        there = {one.key for one in self.bucket.listed("photos/")}
        for path in self.root.glob("photos/*/*"):
            if (key := str(path.relative_to(self.root))) not in there:
                self.bucket.create(key, path)

    def lost_embeddings(self, embedding_paths: Collection[str]) -> set[str]:
        """Those whose file is nowhere; none is fetched for that."""
        missing = {path for path in embedding_paths if not (self.root / path).exists()}
        if missing and self.bucket is not None:
            missing -= {one.key for one in self.bucket.listed("embeddings/")}
        return missing

    def date_files(self) -> set[str]:
        """The `embedding_path` of every date's file, here and in the bucket, and of what a kill has left of one."""
        here = {str(path.relative_to(self.root)) for path in self.embeddings.folder.glob("*/*.safetensors*")}
        there = self.bucket.listed("embeddings/") if self.bucket is not None else []
        return here | {one.key for one in there if one.key.endswith(".safetensors")}

    def untouched_date_files(self, days: float) -> set[str]:
        """The `embedding_path` of the dates' files that nobody has written for so many days."""
        files = untouched(self.embeddings.folder.glob("*/*.safetensors"), days)
        old = {str(path.relative_to(self.root)) for path in files}
        if self.bucket is None:
            return old
        there = [one for one in self.bucket.listed("embeddings/") if one.key.endswith(".safetensors")]
        before = datetime.now(UTC) - timedelta(days=days)
        return (old - {one.key for one in there}) | {one.key for one in there if one.written < before}

    def delete(self, key: str) -> None:
        """Delete a photo or a date's file, here and in the bucket, by its path under the data directory."""
        if self.bucket is not None:
            self.bucket.erase([key])
        (self.root / key).unlink(missing_ok=True)

    def photo_key(self, photo_hash: str) -> str:
        """A landed photo's path under the data directory, by the SHA-256 of its bytes."""
        return PHOTO_PATH.format(photo_hash[:2], photo_hash)

    def photo(self, photo_hash: str) -> Path:
        """The file of a landed photo; there is none of one that was erased."""
        return self.copy(self.photo_key(photo_hash))

    def photos(self, photo_hashes: Iterable[str]) -> list[Path]:
        """The files of landed photos, in their order; many are fetched at a time."""
        return list(in_parallel(self.photo, list(photo_hashes))) if self.address else [*map(self.photo, photo_hashes)]

    def copy(self, key: str) -> Path:
        """A file under the data directory, which a bucket may have instead: then it is fetched."""
        path = self.root / key
        if self.bucket is not None and not path.exists():
            self.bucket.fetch(key, path)
        return path

    def delete_erased(self) -> None:
        """Delete this disk's copies of what was erased elsewhere."""
        if self.bucket is None:
            return
        for key in self.bucket.erased():
            path = self.root / key
            if not path.exists() or self.bucket.has(key):  # it was made, or landed, again
                continue
            if path.name == CARD:
                shutil.rmtree(path.parent, ignore_errors=True)
            else:
                path.unlink(missing_ok=True)


def id_in_path(path: str) -> str:
    """The model's id in a `model_path`."""
    return path.rpartition("/")[2]

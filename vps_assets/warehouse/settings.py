"""The settings that Dagster hands to assets and ops."""

from functools import cached_property
from pathlib import Path

import dagster as dg

from vps_assets.home import Home
from vps_assets.warehouse.database import Warehouse
from vps_ml.artefacts import Artefacts
from vps_ml.compute import HERE
from vps_ml.recipes import Recipe, recipe_named


class Settings(dg.ConfigurableResource):
    """The data directory and the recipe."""

    data_directory: str
    recipe_name: str
    lake: str = ""
    bucket: str = ""
    """See `Home`."""

    executor: str = HERE
    """Where the work of minutes runs (`vps_ml.compute`)."""

    weights: str = ""
    """State file that replaces the recipe's start of the backbones; empty for none."""

    encoder: str = ""
    """Folder of a sentence encoder that replaces the recipe's, or `none`; empty for the recipe's."""

    @cached_property
    def recipe(self) -> Recipe:
        return recipe_named(self.recipe_name, self.weights or None, self.encoder or None)

    @property
    def home(self) -> Home:
        return Home(Path(self.data_directory), self.lake, self.bucket)

    @property
    def artefacts(self) -> Artefacts:
        return self.home.artefacts

    @property
    def warehouse(self) -> Warehouse:
        return Warehouse(self.home)

"""Where everything is: the folders and files under `$VPS_HOME`, and the settings that the environment gives."""

import os
import re
from dataclasses import dataclass
from importlib.util import find_spec
from pathlib import Path

from vps_assets.errors import WrongSetting
from vps_ml.artefacts import Artefacts
from vps_ml.compute import EXECUTORS, HERE
from vps_ml.recipes import NoRecipe, Recipe, recipe_named

DEFAULT_RECIPE = "demo"
SECRET = re.compile(r"://[^@]*:[^@]*@|^https?:.*[@?]|passw|token", re.IGNORECASE)
"""What an address that may hold a password has in it."""
LAKE = "ducklake:postgres:"
"""How a lake's address begins."""


def private_files() -> None:
    """Let whatever this process and its children write be read by their own account alone."""
    os.umask(0o077)


@dataclass(frozen=True)
class Home:
    """The data directory."""

    path: Path
    lake: str = ""
    """What holds the tables instead of a file here: DuckDB's `ducklake:…`."""
    bucket: str = ""
    """Where photos, landings, embeddings, models and a lake's tables are instead of here: `s3://bucket/prefix`."""

    @classmethod
    def from_environment(cls) -> "Home":
        """`$VPS_HOME`, by default `data` in the working directory; `$VPS_WAREHOUSE` and `$VPS_STORAGE`.

        Raises:
            WrongSetting: one of them makes no sense.
        """
        lake, bucket = (os.environ.get(name, "").strip() for name in ("VPS_WAREHOUSE", "VPS_STORAGE"))
        if lake and not lake.startswith(LAKE):
            raise WrongSetting(f"VPS_WAREHOUSE: {lake!r} is no lake, such as {LAKE}dbname=lake host=pg user=vps")
        if "password" in lake.lower() or "://" in lake:
            raise WrongSetting(f"VPS_WAREHOUSE: as {LAKE}dbname=lake host=pg, with the password in PGPASSFILE alone")
        if bucket and not bucket.startswith("s3://"):
            raise WrongSetting(f"VPS_STORAGE: {bucket!r} is no bucket, such as s3://bucket/prefix")
        return cls(Path(os.environ.get("VPS_HOME") or "data").resolve(), lake, bucket.rstrip("/"))

    @property
    def artefacts(self) -> Artefacts:
        """Models, embeddings and photos, by id."""
        return Artefacts(self.path, self.bucket)

    @property
    def warehouse(self) -> Path:
        return self.path / "warehouse.duckdb"

    @property
    def analytics(self) -> Path:
        return self.path / "analytics.duckdb"

    @property
    def inbox(self) -> Path:
        return self.path / "inbox"

    @property
    def landing(self) -> Path:
        return self.path / "landing"

    @property
    def photos(self) -> Path:
        return self.path / "photos"

    @property
    def demo(self) -> Path:
        """The demo marketplace, if it was made."""
        return self.path / "demo"

    @property
    def erasures(self) -> Path:
        """Notes of erasures that have begun."""
        return self.path / "erasures"

    @property
    def processes(self) -> Path:
        """Locks of the processes at work, for those in other containers."""
        return self.path / ".processes"

    @property
    def report(self) -> Path:
        """The page that `vps report` writes."""
        return self.path / "reports" / "evaluation.html"

    @property
    def dagster(self) -> Path:
        return self.path / "dagster"

    @property
    def op_outputs(self) -> Path:
        """What the ops of a run pass to each other; `vps run` clears it after a successful run."""
        return self.dagster / "op_outputs"


def executor_from_environment() -> str:
    """Where the work of minutes runs, as `VPS_EXECUTOR` says.

    Raises:
        WrongSetting: nothing is called so.
    """
    name = os.environ.get("VPS_EXECUTOR") or HERE
    if name not in EXECUTORS:
        raise WrongSetting(f"VPS_EXECUTOR: {name!r} is none of {', '.join(EXECUTORS)}")
    return name


def tracked_by_mlflow() -> bool:
    """Whether `$VPS_MLFLOW` names a tracking server, as MLflow writes them.

    Raises:
        WrongSetting: it may hold a password, which errors would show, or what it takes is not installed.
    """
    server = os.environ.get("VPS_MLFLOW", "")
    if server and server.split() != [server]:
        raise WrongSetting("VPS_MLFLOW: one address, without spaces")
    if SECRET.search(server):
        raise WrongSetting("VPS_MLFLOW: take the password out, for MLFLOW_TRACKING_PASSWORD or PGPASSFILE to have")
    if server and not find_spec("dagster_mlflow"):
        raise WrongSetting("VPS_MLFLOW: MLflow is not installed: pip install '.[mlflow]' in the checkout")
    return bool(server)


def recipe_from_environment() -> Recipe:
    """The recipe that `VPS_RECIPE` names, with the `VPS_WEIGHTS` and the `VPS_ENCODER` that are set.

    Raises:
        WrongSetting: no recipe has this name, or what they name is not there.
    """
    weights, encoder = (os.environ.get(name) or None for name in ("VPS_WEIGHTS", "VPS_ENCODER"))
    if weights and not Path(weights).is_file():
        raise WrongSetting(f"VPS_WEIGHTS: there is no file {weights}")
    try:
        return recipe_named(os.environ.get("VPS_RECIPE") or DEFAULT_RECIPE, weights, encoder)
    except NoRecipe as error:
        raise WrongSetting(f"VPS_RECIPE: {error}") from error
    except ValueError as error:
        raise WrongSetting(f"VPS_ENCODER: {error}") from error

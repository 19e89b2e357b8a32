"""Where everything is: the folders and files under `$VPS_HOME`."""

import os
from dataclasses import dataclass
from pathlib import Path


class WrongSetting(ValueError):
    """An environment variable makes no sense; the message names it and what it should be like."""


@dataclass(frozen=True)
class Home:
    """The data directory."""

    path: Path

    @classmethod
    def from_environment(cls) -> "Home":
        """`$VPS_HOME`, by default `data` in the working directory."""
        return cls(Path(os.environ.get("VPS_HOME") or "data").resolve())

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
    def models(self) -> Path:
        return self.path / "models"

    @property
    def dagster(self) -> Path:
        return self.path / "dagster"

    @property
    def op_outputs(self) -> Path:
        """Where the ops of a run leave what they hand each other; `vps run` clears it after a successful run."""
        return self.dagster / "op_outputs"

    def photo(self, photo_hash: str) -> Path:
        """The file of a landed photo, by the SHA-256 of its bytes."""
        return self.photos / photo_hash[:2] / photo_hash

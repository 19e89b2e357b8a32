"""What the category backbone itself tells of a photo: whether it can be of the category that its seller gives.

Axes: N photo, L label, F feature.
"""

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from jaxtyping import Float
from scipy.special import softmax

from vps_ml.artefacts import Artefacts
from vps_ml.backbones.embedding import STATE

CATEGORY = "category"
"""The task whose head is asked."""
SURE_AT, GIVEN_AT_MOST = 0.7, 0.01
"""Share of one category from which on a photo is surely of it, and share of the given one up to which it is surely not
of that (docs/experiments.md)."""


@dataclass(frozen=True)
class CategoryHead:
    """The last layer of a category backbone."""

    labels: tuple[str, ...]
    weight: Float[np.ndarray, "L F"]
    bias: Float[np.ndarray, " L"]

    @classmethod
    def load(cls, artefacts: Artefacts, backbone_id: str) -> "CategoryHead":
        """The head that a backbone was trained with."""
        state = artefacts.models.arrays(backbone_id, STATE)
        labels = tuple(artefacts.models.card(backbone_id)["labels"])
        return cls(labels, np.array(state["fc.weight"]), np.array(state["fc.bias"]))

    def shares(self, features: Float[np.ndarray, "N F"]) -> Float[np.ndarray, "N L"]:
        """How likely a photo is of each category, by its second-last-layer features; each row sums to one."""
        return softmax(features.astype(np.float32) @ self.weight.T + self.bias, axis=1)

    def contradicted(self, features: Float[np.ndarray, "N F"], categories: Sequence[str | None]) -> list[str | None]:
        """The category that each photo looks like, where it surely is not of the given one; else None.

        Nothing is said of a category that training did not see.
        """
        shares = self.shares(features)
        told: list[str | None] = []
        for row, given in zip(shares, categories, strict=True):
            best = int(row.argmax())
            share_of_given = row[self.labels.index(given)] if given in self.labels else 1.0
            told.append(self.labels[best] if row[best] >= SURE_AT and share_of_given <= GIVEN_AT_MOST else None)
        return told

"""The columns beside the photo that price models see: one table and one function, for training and for serving."""

from collections.abc import Callable, Collection, Mapping, Sequence
from dataclasses import dataclass

import numpy as np
import polars as pl
from jaxtyping import Float

from vps_ml.backbones.tasks import LABELS, WORDS

HISTORIES: Mapping[str, str | None] = {"marketplace": None, "category": "category", "seller": "seller_id"}
"""History of sold prices -> the column that names its group; each falls back to the one before it."""
MOMENTS = ("q1", "median", "q3", "mean")
LABEL_HISTORY = "label"
"""The history of each label that sellers give, `<kind>=<label>`: an item has several, so it is no link of the chain."""
GROUP_OF: Mapping[str, str | None] = {**HISTORIES, LABEL_HISTORY: LABEL_HISTORY}
"""Any history -> the column of its table that names the group."""
SAID_LABELS: Mapping[str, str] = {"attributes": LABELS, "specifications": LABELS, "brand": WORDS, "condition": WORDS}
"""Column of labels that a seller gives -> which of what the seller says it is (`vps_ml.backbones.tasks.words_in`)."""
PRICES, ERRORS = "prices", "errors"
"""What is learnt: a price; or how far off it will be, which is what gates know."""


@dataclass(frozen=True)
class TabularColumn:
    """How a column of the joined listings becomes a number."""

    encode: Callable[[pl.Series], Float[np.ndarray, " row"]]
    missing: object = None
    """Stands for a missing value; None: the column's mean over the training rows does."""
    in_paper: bool = False
    """Whether the paper's models see it (section 3.2)."""
    in_use: bool = True
    """Whether other models that are fitted now see it; models in force may have been trained with one that is not."""
    tells: frozenset[str] = frozenset({PRICES, ERRORS})
    """What is learnt from it."""
    labels: bool = False
    """Whether it holds labels, each of which becomes a column of its own (`expanded`); `encode` does not matter. A row
    has one, or a list of them."""
    words: str | None = None
    """Which of what the seller says it is (`vps_ml.backbones.tasks.words_in`): a model of the photo alone does not see
    it; None: of what everybody sees."""


def log_price(values: pl.Series) -> Float[np.ndarray, " row"]:
    """Natural logs of prices, NaN for a missing one."""
    return np.log(values.cast(pl.Float64).to_numpy())


def number(values: pl.Series) -> Float[np.ndarray, " row"]:
    """The numbers as they are, NaN for a missing one."""
    return values.cast(pl.Float64).fill_null(float("nan")).to_numpy()


def log_count(values: pl.Series) -> Float[np.ndarray, " row"]:
    """ln(1 + count), NaN for a missing one."""
    return np.log1p(values.cast(pl.Float64).to_numpy())


def no_number(values: pl.Series) -> Float[np.ndarray, " row"]:
    """What a column of labels has instead of an encoding."""
    raise ValueError(f"{values.name} holds labels: name them, like {values.name}{LABEL}phone")


LABEL = "="
"""Between the name of a column of labels and a label, in the name of the label's own column."""
MOST_LABELS = 200
"""Columns of one column of labels, the most frequent: free text in its place would be thousands."""
FEWEST_WITH_LABEL = 5
"""Training rows; a label on fewer is no column: nothing can be learnt of it."""

MOST_COUNTED = 2
"""Sales of a seller beyond which there is history enough: a count that only grows would put every later listing outside
what models were trained on, and the gate would follow the calendar (docs/experiments.md)."""


def log_few(values: pl.Series) -> Float[np.ndarray, " row"]:
    """ln(1 + count), counted to `MOST_COUNTED`; NaN for a missing one."""
    return np.log1p(np.minimum(values.cast(pl.Float64).to_numpy(), MOST_COUNTED))


RATIO, LOG_RATIO = "_ratio", "_log_ratio"
"""End the names of a statistic over the next wider history's, and of what labels cost more than the marketplace."""

TABULAR: Mapping[str, TabularColumn] = {
    **{
        f"{history}_{moment}": TabularColumn(log_price, in_paper=True, tells=frozenset({PRICES}))
        for history in HISTORIES
        for moment in MOMENTS
    },  # money
    # Levels move with the market, and errors learnt from them with the calendar; ratios do not (docs/adr/0020).
    **{
        f"{history}_{moment}{RATIO}": TabularColumn(log_price, tells=frozenset({ERRORS}))
        for history in list(HISTORIES)[1:]
        for moment in MOMENTS
    },
    # A history's own sales, even if its prices fell back to a wider group.
    **{f"{history}_sales": TabularColumn(log_count, missing=0, in_use=False) for history in HISTORIES},
    "seller_history": TabularColumn(log_few, missing=0),
    "category": TabularColumn(no_number, labels=True),
    **{name: TabularColumn(no_number, labels=True, words=words) for name, words in SAID_LABELS.items()},
    **{f"{name}{LOG_RATIO}": TabularColumn(number, words=words) for name, words in SAID_LABELS.items()},
}
"""Column -> encoding. A column of `clean_listings` that is named here reaches every price model
of a recipe that sees more than the paper's columns. An encoding never changes: models in force were trained with it; a
changed one is a new column."""


def tabular_columns(beyond_paper: bool, words: Collection[str] = ()) -> tuple[str, ...]:
    """The columns of the paper's models, or those that others see; and of what the seller says those asked for."""
    return tuple(
        name
        for name, column in TABULAR.items()
        if (column.words in words if column.words else column.in_use if beyond_paper else column.in_paper)
    )


def hidden_from(learning: str, columns: Sequence[str]) -> tuple[int, ...]:
    """The numbers of the columns that nothing is learnt from.

    None where all columns tell of prices, as the paper's do: there is nothing else to learn errors from.

    Args:
        learning: `PRICES` or `ERRORS`.
        columns: all of a model's.
    """
    tells = [TABULAR[source_of(name)].tells for name in columns]
    if not any(ERRORS in told for told in tells):
        return ()
    return tuple(number for number, told in enumerate(tells) if learning not in told)


def expanded(columns: Sequence[str], training_rows: pl.DataFrame) -> tuple[str, ...]:
    """The columns, each column of labels replaced by one for every label that enough of the training rows have.

    A label's column (`category=phone`) is 1 where the row has it, else 0: a label that training did not see, or hardly,
    is 0 everywhere, as a missing one.
    """
    names: list[str] = []
    for name in columns:
        if not TABULAR[name].labels:
            names.append(name)
            continue
        given = training_rows[name].drop_nulls()
        if given.dtype == pl.List:
            given = given.list.unique().explode(empty_as_null=False)
        counts = given.value_counts().filter(pl.col("count") >= FEWEST_WITH_LABEL)
        common = counts.sort("count", name, descending=[True, False])[name].head(MOST_LABELS)
        names += [f"{name}{LABEL}{label}" for label in sorted(common)]
    return tuple(names)


def source_of(column: str) -> str:
    """The column of the rows that this column is made from."""
    return column.partition(LABEL)[0]


def tabular_matrix(rows: pl.DataFrame, columns: Sequence[str]) -> Float[np.ndarray, "row column"]:
    """The encoded columns of some rows, before standardisation; NaN is missing.

    Raises:
        ValueError: a column is not in `TABULAR`, or the rows lack it.
    """
    sources = dict.fromkeys(source_of(name) for name in columns)
    unknown = [name for name in sources if name not in TABULAR or name not in rows.columns]
    if unknown:
        raise ValueError(f"no tabular column {', '.join(unknown)}: TABULAR and the rows must both have it")
    encoded = [encoded_column(name, rows) for name in columns]
    return np.stack(encoded).T if encoded else np.empty((rows.height, 0))


def encoded_column(name: str, rows: pl.DataFrame) -> Float[np.ndarray, " row"]:
    """A column, or the column of a label, as numbers."""
    source, is_label, label = name.partition(LABEL)
    if is_label:
        given = rows[source]
        has = given.list.contains(label) if given.dtype == pl.List else given == label
        return has.fill_null(value=False).cast(pl.Float64).to_numpy()
    return TABULAR[name].encode(filled(rows[name], TABULAR[name].missing))


def filled(values: pl.Series, missing: object) -> pl.Series:
    return values if missing is None else values.fill_null(missing)

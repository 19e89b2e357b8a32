"""What sellers' words are worth, in the report, and what would help a listing that cannot be priced."""

import polars as pl

from vps_assets.report.comparisons import BY, SIDES, Models, differences, mean, overall, percent, shown
from vps_assets.report.published import Published
from vps_assets.report.tables import Table, difference_cell, over_seeds
from vps_ml.backbones.tasks import LABELS, TEXT, WORDS, inputs_of, sees_words
from vps_ml.pricing.variants import SERVED, SERVED_COVERAGE

SAID_BESIDE = {
    TEXT: "title and description",
    f"{TEXT}+{LABELS}": "these, attributes and specifications",
    WORDS: "all words",
}


def read_words(features: str) -> str:
    """What a model of these features reads, in words."""
    if not sees_words(features) or features == WORDS:
        return BY[inputs_of(features)]
    return f"photo, {next(said for words, said in SAID_BESIDE.items() if features.endswith(f'+{words}'))}"


def words_table(published: Published, split_kind: str) -> Table:
    """What each thing that the seller shows or says is worth, on the same test rows; with rivals that read the same."""
    reports = overall(published["words_reports"], Models(split_kind=split_kind, constraint_value=SERVED_COVERAGE))
    reports = reports.filter(pl.col("constraint_kind") != "threshold")
    rows = []
    for (seen, objective), part in reports.group_by("features", "objective", maintain_order=True):
        rescued, refused = part["priced_of_these"].drop_nulls(), mean(part, "refused_by_photo")
        by_words = mean(part.drop_nulls("by_words"), "by_words")
        rows.append(
            (
                read_words(str(seen)),
                str(objective).replace("_", " "),
                over_seeds(part, "male_of_all"),
                with_ends(part, "aurc"),
                over_seeds(part, "coverage", percent),
                with_ends(part, "male"),
                over_seeds(part, "range_width"),
                f"{percent(mean(part, 'priced_of_these'))} of {refused:.0f}" if refused is not None else "–",
                f"+{mean(part, 'gained'):.0f}, -{mean(part, 'lost'):.0f}" if rescued.len() else "–",
                f"+{by_words:.0f} at {shown(mean(part, 'by_words_male'))}" if by_words is not None else "–",
            )
        )
    order = ["the photo", "words", *(f"photo, {words}" for words in SAID_BESIDE.values())]
    rows.sort(key=lambda row: (order.index(row[0]), row[1] != SERVED["objective"], row[1]))
    columns = (
        "by what", "model", "MALE of all", "AURC (95%)", "qualified", "MALE (95%)", "range width, ln",
        "could be priced of those refused by the photo", "priced now, refused now", "and by words alone, at MALE",
    )  # fmt: skip
    note = (
        "Intervals are over other draws of listings. Of the listings that the served model refuses by the photo alone, "
        "so many could be priced were as many qualified as keep that model's own error; then how many of them the "
        "model prices by its own gate, and how many that the photo alone prices it refuses; last, what it and the "
        "photo alone refuse and words alone price, as is served. Words are "
        "title, description, brand, attributes, specifications and condition; prices in the first two are masked. "
        "Whether a difference is more than chance: model_comparisons, families `words`."
    )
    return Table(f"What the seller's words are worth (split {SIDES[split_kind]})", columns, rows, note)


def with_ends(rows: pl.DataFrame, column: str) -> str:
    """The mean over seeds, with the mean ends of its interval."""
    low, high = (mean(rows.drop_nulls(f"{column}_{end}"), f"{column}_{end}") for end in ("low", "high"))
    return f"{over_seeds(rows, column)} [{shown(low)}, {shown(high)}]"


def words_comparison_table(published: Published, split_kind: str) -> Table:
    """Photo, words and both held against each other and against rivals with the same inputs."""
    rows = differences(published["model_comparisons"], f"words, {split_kind}").to_dicts()
    metrics = list(dict.fromkeys(row["metric"] for row in rows))
    cells = {(row["claim"], row["metric"]): row for row in rows}
    table = [
        (
            claim.replace("_", " "),
            *("–" if (row := cells.get((claim, metric))) is None else difference_cell(row) for metric in metrics),
        )
        for claim in dict.fromkeys(row["claim"] for row in rows)
    ]
    note = "Difference of the first less the second, as above: negative if the first has less error."
    columns = ("claim", *(metric.replace("_", " ") for metric in metrics))
    return Table(f"Photo, words and both against each other (split {SIDES[split_kind]})", columns, table, note)


def advice_table(published: Published) -> Table:
    """What helps listings that cannot be priced."""
    rows = [
        (
            BY[row["inputs"]],
            str(row["piece"]),
            f"{row['refused']:,}",
            percent(row["priced_share"]),
            f"{row['gain']:+.3f} ± {row['gain_error']:.3f}",
        )
        for row in published["advice_gains"].sort("inputs", "priced_share", descending=[False, True]).to_dicts()
    ]
    columns = (
        "priced by",
        "what is added",
        "refused without it",
        "more of these priced with it",
        "gain in qualification",
    )
    note = (
        "Test listings that have the thing, as they are and as if they had not; a sharper photo: blurred on purpose, "
        "and as they are. `vps suggest` advises by it."
    )
    return Table("What would help a listing that cannot be priced", columns, rows, note)


def words_tables(published: Published) -> list[Table]:
    """Every table about words."""
    made = []
    for split_kind in ("group", "time"):
        made += [words_table(published, split_kind), words_comparison_table(published, split_kind)]
    return [*made, advice_table(published)]

"""Tables 1 to 5 of the paper beside our figures, and the baselines, as plain rows of text."""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import polars as pl

from vps_assets.report.published import Published
from vps_assets.splits import with_roles

PAPER_CATEGORIES = (
    "women clothes", "men clothes", "children clothes", "women shoes", "men shoes", "children shoes", "cosmetic",
    "phone", "3C product", "household appliance", "sports equipment", "baby product", "accessories",
)  # fmt: skip
PAPER_SPLITS = {
    "train": (184401, 38292, 11196, 27215, 16456, 31362, 125684, 65357, 184861, 59221, 88055, 23330, 36984),
    "validation": (5528, 1196, 290, 817, 484, 972, 3671, 1926, 5360, 1747, 2721, 710, 1029),
    "test": (20712, 4359, 1055, 2895, 1825, 3656, 13705, 7253, 20060, 6323, 9070, 2503, 4164),
}
# Share qualified, MALE, RMSLE.
PAPER_TABLE_2 = {
    0.3: (0.3020, 0.3573, 0.4828),
    0.4: (0.4068, 0.3685, 0.5023),
    0.5: (0.5008, 0.3864, 0.5302),
    0.6: (0.6229, 0.4012, 0.5502),
    0.7: (0.7152, 0.4132, 0.5666),
}
PAPER_TABLE_3 = {
    0.3: (0.3511, 0.3427, 0.4764),
    0.4: (0.5386, 0.3776, 0.5223),
    0.5: (0.6904, 0.4033, 0.5553),
    0.6: (0.7918, 0.4265, 0.5878),
    0.7: (0.8229, 0.4309, 0.5917),
}
PAPER_TESTED = 97_580
PAPER_TABLE_4 = {
    ("percentile", "STFE"): (46583 / PAPER_TESTED, 0.4008, 0.5421),
    ("percentile", "MSTFE"): (48871 / PAPER_TESTED, 0.3864, 0.5302),
    ("threshold", "STFE"): (58949 / PAPER_TESTED, 0.4104, 0.5572),
    ("threshold", "MSTFE"): (67365 / PAPER_TESTED, 0.4033, 0.5553),
}
PAPER_TABLE_5 = {
    ("percentile", False): (48130 / PAPER_TESTED, 0.3940, 0.5343),
    ("percentile", True): (48871 / PAPER_TESTED, 0.3864, 0.5302),
    ("threshold", False): (55575 / PAPER_TESTED, 0.4058, 0.5484),
    ("threshold", True): (67365 / PAPER_TESTED, 0.4033, 0.5553),
}


@dataclass(frozen=True)
class Table:
    """A titled table of text."""

    title: str
    columns: tuple[str, ...]
    rows: Sequence[tuple[str, ...]]
    note: str = ""


def shown(value: float | None) -> str:
    return "–" if value is None else f"{value:.4f}"


def percent(value: float | None) -> str:
    return "–" if value is None else f"{100 * value:.2f}%"


def mean(rows: pl.DataFrame, column: str) -> float | None:
    return rows[column].mean() if rows.height else None  # type: ignore[return-value]


def measured(rows: pl.DataFrame) -> tuple[str, ...]:
    """Coverage, raw coverage, MALE, RMSLE, AURC of a model, averaged over its seeds."""
    return (
        percent(mean(rows, "coverage")),
        percent(mean(rows, "raw_coverage")),
        shown(mean(rows, "male")),
        shown(mean(rows, "rmsle")),
        shown(mean(rows, "aurc")),
    )


OURS = ("qualified", "qualified, gate at 0.5", "MALE", "RMSLE", "AURC")
PAPERS = ("paper: qualified", "paper: MALE", "paper: RMSLE")


def papers(figures: tuple[float, float, float]) -> tuple[str, ...]:
    return percent(figures[0]), shown(figures[1]), shown(figures[2])


def overall(reports: pl.DataFrame, **chosen: Any) -> pl.DataFrame:
    """Report rows over all test listings with these values."""
    return reports.filter(pl.col("segment") == "all", *(pl.col(name) == value for name, value in chosen.items()))


def data_table(published: Published) -> Table:
    """Table 1: how many sold listings train, validate and test, per category."""
    told = with_roles(published["clean_listings"]).drop_nulls("group_role")
    counts = told.group_by("category", "group_role").len()
    number = {(category, role): n for category, role, n in counts.iter_rows()}
    rows = []
    for category in sorted({key[0] for key in number}):
        ours = [number.get((category, role), 0) for role in PAPER_SPLITS]
        known = PAPER_CATEGORIES.index(category) if category in PAPER_CATEGORIES else None
        theirs = ["" if known is None else f"{counts[known]:,}" for counts in PAPER_SPLITS.values()]
        rows.append((category, *(f"{n:,}" for n in ours), *theirs))
    total = [f"{sum(number.get((c, role), 0) for c in {k[0] for k in number}):,}" for role in PAPER_SPLITS]
    rows.append(("total", *total, *(f"{sum(counts):,}" for counts in PAPER_SPLITS.values())))
    columns = ("category", "train", "validation", "test", "paper: train", "paper: validation", "paper: test")
    return Table("Table 1. Sold listings by category and side of the split", columns, rows)


def constraint_table(published: Published, kind: str, title: str, paper: dict, objective: str) -> Table:
    """Tables 2 and 3: one row per δ or ε."""
    reports = published["evaluation_reports"]
    symbol = "δ" if kind == "percentile" else "ε"
    rows = []
    for value, figures in paper.items():
        mine = overall(reports, constraint_kind=kind, constraint_value=value, objective=objective, split_kind="group")
        rows.append((f"{symbol} = {value}", *measured(mine), *papers(figures)))
    return Table(f"{title}, objective `{objective}`", (symbol, *OURS, *PAPERS), rows)


def ablation_table(published: Published, ablation: str, title: str, column: str, paper: dict) -> Table:
    """Tables 4 and 5: the two ablations at δ = 0.5 and ε = 0.5."""
    reports = published["ablation_reports"]
    rows = []
    for (kind, value), figures in paper.items():
        mine = overall(reports, ablation=ablation, constraint_kind=kind, **{column: value})
        name = value if isinstance(value, str) else ("with warm-up" if value else "without warm-up")
        rows.append((kind, name, *measured(mine), *papers(figures)))
    return Table(title, ("constraint", column.replace("_", "-"), *OURS, *PAPERS), rows)


def baseline_table(published: Published, split_kind: str) -> Table:
    """What a user would pick instead, beside our served objective, on the same test rows."""
    reports = overall(published["evaluation_reports"], split_kind=split_kind)
    chosen = reports.filter(pl.col("constraint_kind") != "threshold").sort("constraint_value", "objective")
    rows = [
        (
            f"{row['constraint_value']:.1f}",
            row["objective"].replace("_", " "),
            *measured(chosen[i]),
            f"{row['tested']:,}",
        )
        for i, row in enumerate(chosen.iter_rows(named=True))
        if row["seed"] == 0
    ]
    sides = "by group" if split_kind == "group" else "by time: newest days"
    return Table(
        f"Against what a user would pick instead (split {sides})",
        ("read at coverage", "model", *OURS, "tested"),
        rows,
    )


def backbone_table(published: Published) -> Table:
    rows = [
        (row["task"], row["state"], f"{row['labels']:,}", f"{row['photos']:,}", shown(row["validation_score"]))
        for row in published["task_backbones"].sort("task").iter_rows(named=True)
    ]
    return Table("Backbones", ("task", "state", "labels", "photos", "held-out score"), rows)


def all_tables(published: Published) -> list[Table]:
    """Every table of the report, in the paper's order."""
    made = [data_table(published), backbone_table(published)]
    for objective in ("paper", "cross_fitted"):
        title = "Table 2. Percentile constraint"
        made.append(constraint_table(published, "percentile", title, PAPER_TABLE_2, objective))
    for objective in ("paper", "cross_fitted"):
        title = "Table 3. Threshold constraint"
        made.append(constraint_table(published, "threshold", title, PAPER_TABLE_3, objective))
    title = "Table 4. MSTFE against STFE"
    made.append(ablation_table(published, "features", title, "features", PAPER_TABLE_4))
    made.append(ablation_table(published, "warm_up", "Table 5. Warm-up", "warm_up", PAPER_TABLE_5))
    made += [baseline_table(published, split_kind) for split_kind in ("group", "time")]
    return made


def headline(published: Published) -> str:
    """The sentence a manager would read first."""
    reports = published["evaluation_reports"]
    half = {"constraint_value": 0.5, "split_kind": "group"}
    ours = overall(reports, objective="cross_fitted", constraint_kind="percentile", **half)
    trees = overall(reports, objective="boosted_trees", **half)
    if ours.is_empty():
        return "No model on the split by group could be evaluated: too few sold listings."
    our_male, our_coverage = mean(ours, "male") or 0.0, mean(ours, "coverage") or 0.0
    typical = 100 * (2.718281828459045**our_male - 1)
    sentence = (
        f"Asked to price half of the photos, the served model takes {percent(our_coverage)} of unseen items and is off "
        f"by a typical factor of {1 + typical / 100:.2f} (MALE {our_male:.4f})"
    )
    if trees.is_empty():
        return sentence + "."
    margin = (mean(trees, "aurc") or 0.0) - (mean(ours, "aurc") or 0.0)
    verdict = "ahead of" if margin > 0 else "behind"
    return f"{sentence}; by AURC it is {verdict} boosted trees on the same features by {abs(margin):.4f}."


def shapes(published: Published) -> Sequence[tuple[str, bool | None]]:
    """What the paper's tables show and any data of ours must show too: (claim, whether it holds here)."""
    reports, ablations = published["evaluation_reports"], published["ablation_reports"]

    def column(kind: str, name: str, objective: str = "cross_fitted") -> list[float]:
        rows = overall(reports, constraint_kind=kind, objective=objective, split_kind="group")
        return rows.group_by("constraint_value").agg(pl.col(name).mean()).sort("constraint_value")[name].to_list()

    def better(ablation: str, column_name: str, winner: Any, loser: Any, kind: str) -> bool | None:
        first, second = (
            mean(overall(ablations, ablation=ablation, constraint_kind=kind, **{column_name: v}), "aurc")
            for v in (winner, loser)
        )
        return None if first is None or second is None else first < second

    def rising(values: list[float]) -> bool | None:
        return None if len(values) < 2 else all(a <= b + 1e-9 for a, b in zip(values, values[1:], strict=False))

    coverage = column("percentile", "coverage")
    near = [abs(c - d) <= 0.05 for c, d in zip(coverage, (0.3, 0.4, 0.5, 0.6, 0.7), strict=False)]
    told: list[tuple[str, bool | None]] = [
        ("percentile: coverage is within 5 points of δ, for every δ", all(near) if near else None),
        ("percentile: error rises with coverage", rising(column("percentile", "male"))),
        ("threshold: coverage rises with ε", rising(column("threshold", "coverage"))),
    ]
    for kind in ("percentile", "threshold"):
        told.append((f"{kind}: MSTFE beats STFE by AURC", better("features", "features", "MSTFE", "STFE", kind)))
        told.append((f"{kind}: warm-up beats none by AURC", better("warm_up", "warm_up", True, False, kind)))
    return told

"""The curves of `million.py` as a picture: CPU and memory of each stage against the number of listings.

    python benchmarks/curves.py results.json docs/scaling.svg

`results.json` is the last line that `million.py` prints. Stages are sums of Dagster's steps; what training takes is
left out, since it is the sample's (`--most-sold`), and so is what no step does.
"""

import argparse
import json
from collections.abc import Mapping
from pathlib import Path

STAGES: Mapping[str, tuple[str, ...]] = {
    "landing": ("landing",),
    "listings and their checks": ("raw_listings", "price_bounds", "clean_listings", "quarantined_listings"),
    "statistics": tuple(f"{history}_statistics" for history in ("marketplace", "category", "seller", "label")),
    "words": ("text_embeddings",),
    "embedding files": ("image_embeddings",),
    "suggestions, comparables": (
        *("price_suggestions", "suggestion_comparables", "suggestion_history", "suggestion_changes"),
        "comparable_items",
    ),
    "publishing": ("publishing",),
}
"""Stage -> the assets, or whatever else, whose steps it is."""
Results = Mapping[str, Mapping[str, Mapping[str, float]]]
"""Listings -> step -> its figures."""


def of_stage(steps: Mapping[str, Mapping[str, float]], run: str, stage: str) -> tuple[float, float]:
    """(CPU in s, peak memory in MiB) of a stage of a run, `first` or `new day`."""
    names = STAGES[stage]
    mine = [
        figures
        for step, figures in steps.items()
        if step.startswith(f"{run}: ") and step.removeprefix(f"{run}: ").partition(".")[0].startswith(names)
    ]
    return sum(one["cpu_s"] for one in mine), max((one["peak_mib"] for one in mine), default=0.0)


def drawn(results: Results, target: Path) -> None:
    """Three panels: CPU of the first run, of a new day, and memory."""
    from matplotlib import rc_context
    from matplotlib.figure import Figure

    sizes = sorted(results, key=int)
    figure = Figure(figsize=(11, 4.4), layout="constrained")
    first, after, memory = figure.subplots(1, 3)
    for number, stage in enumerate(STAGES):
        for axis, run in ((first, "first"), (after, "new day")):
            points = [(int(size), of_stage(results[size], run, stage)[0]) for size in sizes]
            there = [(listings, cpu_s) for listings, cpu_s in points if cpu_s > 0]
            axis.plot(*zip(*there, strict=True), "o-", color=f"C{number}", label=stage) if there else None
        peaks = [(int(size), of_stage(results[size], "first", stage)[1] / 1024) for size in sizes]
        memory.plot(*zip(*[peak for peak in peaks if peak[1] > 0], strict=True), "o-", color=f"C{number}")
    for axis, title in ((first, "first run, s of CPU"), (after, "a new day, s of CPU")):
        axis.set(xscale="log", yscale="log", xlabel="listings", title=title)
        ends = [int(sizes[0]), int(sizes[-1])]
        axis.plot(ends, [10 * end / ends[0] for end in ends], color="#bbbbbb", linestyle=":")  # as the listings grow
    memory.set(xscale="log", xlabel="listings", title="peak memory, GiB", ylim=(0, None))
    figure.legend(*first.get_legend_handles_labels(), loc="outside lower center", ncols=4, frameon=False)
    with rc_context({"svg.fonttype": "none", "svg.hashsalt": "scaling"}):  # text stays text; the same file again
        figure.savefig(target, metadata={"Date": None})


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("results", type=Path)
    parser.add_argument("target", type=Path)
    arguments = parser.parse_args()
    drawn(json.loads(arguments.results.read_text().splitlines()[-1])["by_listings"], arguments.target)


if __name__ == "__main__":
    main()

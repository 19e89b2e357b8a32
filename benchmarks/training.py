"""Price networks at the paper's size against the matrix-multiply ceiling, and ten models against ten trainings.

    python benchmarks/training.py [--batches 3] [--full]

`gemm_fraction`: f_reg and f_cls jointly at 8,204 features and batch 4,096, by the training's own code on a mapped
half-precision matrix, as a share of the rate at which this machine multiplies such matrices in the same run; beside it
the naive loop (DataLoader, two networks, Adam). A sample costs 34.4 MFLOP, forward and backward.

Ten models: the cross-fitted models of all five δ and five ε, which share their fold networks and their features,
against ten separate trainings; and the same on reduced features.
"""

import sys
from pathlib import Path

HERE = str(Path(__file__).parent)
sys.path[:] = [
    *(p for p in sys.path if p != HERE),
    HERE,
]  # torch must not take statistics.py for the standard library's

import argparse
import tempfile
import time
from dataclasses import replace

import numpy as np
import polars as pl
import torch
from measure import memory_mib, report, tell
from torch.utils.data import DataLoader, TensorDataset

from vps_ml.allocator import keep_freed_memory
from vps_ml.features.matrix import FeatureMatrix
from vps_ml.features.scaling import FeatureMap, VisualMoments, principal_axes, tabular_moments
from vps_ml.features.tabular import tabular_columns, tabular_matrix
from vps_ml.pricing import learners as training
from vps_ml.pricing.networks import Examples, network_for
from vps_ml.pricing.variants import COVERAGE_TARGETS, ERROR_TOLERANCES
from vps_ml.recipes import demo, paper
from vps_ml.training_loop import Session

VISUAL = 8192
COLUMNS = tabular_columns(beyond_paper=False)
FEATURES = VISUAL + len(COLUMNS)
ROUNDS = 3


def quiet(message: str) -> None:
    """No progress."""


def flop_per_sample(features: int, hidden: tuple[int, ...]) -> int:
    """Multiplications and additions of two networks, forward and backward; no gradient goes into the features."""
    widths = [features, *hidden, 1]
    layers = [a * b for a, b in zip(widths, widths[1:], strict=False)]
    return 2 * (4 * layers[0] + 6 * sum(layers[1:]))


def random_blocks(rows: int, width: int, seed: int = 0) -> list[tuple[np.ndarray, np.ndarray]]:
    rng = np.random.default_rng(seed)
    parts = np.array_split(np.arange(rows), max(1, rows // 4096))
    return [(part, rng.standard_normal((len(part), width), dtype=np.float32).astype(np.float16)) for part in parts]


def paper_sized(rows: int, folder: Path) -> tuple[FeatureMatrix, np.ndarray]:
    """(a matrix of the paper's width in a mapped file, log prices)."""
    blocks, rng = random_blocks(rows, VISUAL), np.random.default_rng(1)
    moments = VisualMoments.of(block for _, block in blocks[:1])
    table = pl.DataFrame({name: np.exp(rng.normal(size=rows)) for name in COLUMNS})
    tabular = tabular_moments(tabular_matrix(table, COLUMNS))
    fitted = FeatureMap(moments.mean, moments.scale, *tabular, COLUMNS)
    return FeatureMatrix.assembled(fitted, blocks, table, folder), rng.normal(4, 1, rows)


def gemm_flops(features: int, batch: int, hidden: int) -> float:
    """FLOP a second of the product that dominates a step, at the width to a cache line, which is the fastest."""
    features = features // 16 * 16
    a, b = torch.rand(batch, features), torch.rand(features, hidden)
    torch.mm(a, b)
    start, times = time.perf_counter(), 4
    for _ in range(times):
        torch.mm(a, b)
    return times * 2 * batch * features * hidden / (time.perf_counter() - start)


def joint_rate(matrix: FeatureMatrix, y: np.ndarray, numbers: np.ndarray | None = None) -> float:
    """Samples a second of the training's own code, on all rows or on those with these numbers."""
    recipe = replace(paper().pricing, epochs=(1, 1, 1, 1))
    examples = Examples.of(matrix.rows(np.arange(len(y)) if numbers is None else numbers), y)
    objective = training.constraint_objective("percentile", 0.5, recipe, 1.0)
    start = time.perf_counter()
    training.train_jointly(examples, examples, objective, recipe, True, 0, Session(quiet))
    return 4 * len(y) / (time.perf_counter() - start)


def naive_rate(matrix: FeatureMatrix, y: np.ndarray) -> float:
    """Samples a second of what one writes first: a DataLoader over float tensors, two networks, Adam."""
    recipe = paper().pricing
    x = torch.from_numpy(matrix.rows(np.arange(len(y))).array())
    batches = DataLoader(TensorDataset(x, torch.from_numpy(y).float()), recipe.batch_size, shuffle=True)
    price, accept = (network_for(x.shape[1], 0.0, recipe.hidden, recipe.dropout) for _ in "ab")
    optimizer = torch.optim.Adam([*price.parameters(), *accept.parameters()], weight_decay=recipe.weight_decay)
    objective = training.constraint_objective("percentile", 0.5, recipe, 1.0)
    start = time.perf_counter()
    for rows, target in batches:
        loss = objective((target - price(rows)).square(), accept(rows), False)
        optimizer.zero_grad()
        loss.backward()
        optimizer.step()
    return len(y) / (time.perf_counter() - start)


def against_the_ceiling(batches: int) -> dict[str, float]:
    recipe = paper().pricing
    flop = flop_per_sample(FEATURES, recipe.hidden)
    found: dict[str, list[float]] = {"ceiling": [], "ours": [], "naive": []}
    with tempfile.TemporaryDirectory() as folder:
        matrix, y = paper_sized(batches * recipe.batch_size, Path(folder))
        for number in range(ROUNDS + 1):
            ceiling = gemm_flops(FEATURES, recipe.batch_size, recipe.hidden[0]) / flop
            rates_now = {"ceiling": ceiling, "ours": joint_rate(matrix, y), "naive": naive_rate(matrix, y)}
            for name, rate in rates_now.items():
                if number:
                    found[name].append(rate)
    rates = {name: float(np.median(values)) for name, values in found.items()}
    tell(f"{FEATURES:,} features, batch {recipe.batch_size:,}, {flop / 1e6:.1f} MFLOP a sample")
    for name, rate in rates.items():
        tell(f"  {name:10} {rate:8,.0f} samples/s  {rate / rates['ceiling']:.2f} of the ceiling")
    return rates


def ten_models(rows: int) -> dict[str, float]:
    """Seconds for the models of all δ and ε on `rows` rows: shared folds, separate ones, and on all features."""
    recipe, rng = replace(demo().pricing, patience=None, most_steps=600), np.random.default_rng(2)
    visual = np.concatenate([block for _, block in random_blocks(rows, 2048)])
    y = visual[:, :40].astype(np.float64).sum(axis=1) / 6 + rng.normal(0, 0.5, rows)
    flat = FeatureMatrix.of(visual)
    mean, axes = principal_axes(visual, int(recipe.reduced_features or 0), 0)
    reduced = FeatureMatrix.of((visual.astype(np.float32) - mean) @ axes)
    constraints = [("percentile", value) for value in COVERAGE_TARGETS] + [("threshold", v) for v in ERROR_TOLERANCES]

    def folds(matrix: FeatureMatrix) -> training.FoldNetworks:
        validation = matrix.rows(np.arange(64)), y[:64]
        every = matrix.rows(np.arange(rows)), y
        return training.train_folds(every, validation, np.arange(rows), recipe, 0, Session(quiet))

    def gate(matrix: FeatureMatrix, made: training.FoldNetworks, kind: str, value: float) -> None:
        errors = Examples.of(matrix.rows(np.arange(rows)), np.square(made.residual))
        objective = training.constraint_objective(kind, value, recipe, 1.0)
        training.train_alone(training.gate(errors, objective, recipe), errors, errors, recipe, 0, Session(quiet))

    def shared(matrix: FeatureMatrix) -> None:
        made = folds(matrix)
        for kind, value in constraints:
            gate(matrix, made, kind, value)

    def separate(matrix: FeatureMatrix) -> None:
        for kind, value in constraints:
            gate(matrix, folds(matrix), kind, value)

    ways = {
        "shared folds, reduced features": lambda: shared(reduced),
        "ten trainings, reduced features": lambda: separate(reduced),
        "shared folds, all features": lambda: shared(flat),
    }
    found = {}
    tell(f"ten models on {rows:,} rows, {recipe.reduced_features} of 2,048 visual features or all")
    for name, way in ways.items():
        start = time.perf_counter()
        way()
        found[name] = time.perf_counter() - start
        tell(f"  {name:34} {found[name]:8.1f} s  {found[name] / found['shared folds, reduced features']:6.1f} x")
    return found


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--batches", type=int, default=3, help="of 4,096 rows each")
    parser.add_argument("--full", action="store_true", help="12 batches an epoch, and 1,200 rows for the ten models")
    arguments = parser.parse_args()
    keep_freed_memory()
    rates = against_the_ceiling(12 if arguments.full else arguments.batches)
    seconds = ten_models(1_200 if arguments.full else 600)
    ours = seconds["shared folds, reduced features"]
    report(
        samples_per_s=rates,
        gemm_fraction=rates["ours"] / rates["ceiling"],
        naive_gemm_fraction=rates["naive"] / rates["ceiling"],
        ten_models_s=seconds,
        ten_models_speedup=seconds["ten trainings, reduced features"] / ours,
        reduction_speedup=seconds["shared folds, all features"] / ours,
        memory_mib=memory_mib("RssAnon"),
    )


if __name__ == "__main__":
    main()

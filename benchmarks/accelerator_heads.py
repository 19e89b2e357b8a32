"""The paper's price networks on an accelerator: f_reg and f_cls jointly on as many listings as the paper had.

    python benchmarks/accelerator_heads.py [--rows 892414]

Needs a GPU. Features are drawn on the card (8,204, in half precision, as a matrix of embeddings would lie there).
`ours` is the training's own code, whose steps are recorded and repeated there (`vps_ml/recorded_steps.py`);
`unrecorded` the same code, each step started from Python; `naive` what one writes first: two networks, Adam, single
precision, and a look at each loss. `card` is the rate at which it multiplies such matrices in TF32, as the training
does. A sample costs 34.4 MFLOP. What recorded and unrecorded steps have learnt is compared bit by bit.
"""

import argparse
import sys
import time
from collections.abc import Callable
from dataclasses import replace
from unittest.mock import patch

import numpy as np
import torch
from measure import report, tell
from training import FEATURES, VISUAL, flop_per_sample, quiet

from vps_ml import recorded_steps
from vps_ml.features.matrix import FeatureMatrix
from vps_ml.pricing import learners
from vps_ml.pricing.networks import Examples, PriceNetwork, network_for
from vps_ml.recipes import PricingRecipe, paper
from vps_ml.training_loop import Session, products_in_tf32

PAPERS_EPOCHS = 7650
ROUNDS = 3
COMPARED = 20_001


def drawn(rows: int) -> tuple[FeatureMatrix, np.ndarray]:
    """(a matrix of the paper's width on the card, log prices that its features tell in part)."""
    generator = torch.Generator("cuda").manual_seed(0)
    visual = torch.empty((rows, VISUAL), dtype=torch.float16, device="cuda")
    for part in visual.split(16_384):
        part.copy_(torch.randn(part.shape, generator=generator, device="cuda"))
    tabular = torch.zeros((rows, 16), device="cuda")
    tabular[:, : FEATURES - VISUAL] = torch.randn((rows, FEATURES - VISUAL), generator=generator, device="cuda")
    worth = torch.randn(VISUAL, generator=generator, device="cuda") / VISUAL**0.5
    price = torch.cat([part.float() @ worth for part in visual.split(65_536)]) + tabular.sum(dim=1) / 4 + 4
    return FeatureMatrix(visual, tabular, FEATURES), price.cpu().numpy()


def joint(matrix: FeatureMatrix, y: np.ndarray, recipe: PricingRecipe) -> tuple[PriceNetwork, PriceNetwork]:
    """Both networks after the training's own code."""
    examples = Examples.of(matrix.rows(np.arange(len(y))), y)
    objective = learners.constraint_objective("percentile", 0.5, recipe, 1.0)
    return learners.train_jointly(examples, examples, objective, recipe, True, 0, Session(quiet))


def naive(matrix: FeatureMatrix, y: np.ndarray, recipe: PricingRecipe) -> None:
    """As many epochs as the recipe has, of a loop as one writes it first."""
    price, accept = (network_for(matrix.width, 0.0, recipe.hidden, recipe.dropout) for _ in "ab")
    optimizer = torch.optim.Adam([*price.parameters(), *accept.parameters()], weight_decay=recipe.weight_decay)
    objective = learners.constraint_objective("percentile", 0.5, recipe, 1.0)
    target = torch.from_numpy(y).float().cuda()
    for _ in range(sum(recipe.epochs)):
        for rows in torch.randperm(len(y), device="cuda").split(recipe.batch_size):
            x = matrix.batch(rows)
            loss = objective((target[rows] - price(x)).square(), accept(x), False)
            optimizer.zero_grad()
            loss.backward()
            optimizer.step()
            assert np.isfinite(loss.item())


def seconds(way: Callable[[], object]) -> float:
    """Wall time of one call, its work on the card included."""
    torch.cuda.synchronize()
    start = time.perf_counter()
    way()
    torch.cuda.synchronize()
    return time.perf_counter() - start


@products_in_tf32()
def card_flops(recipe: PricingRecipe) -> float:
    """FLOP a second of the product that dominates a step."""
    a = torch.rand(recipe.batch_size, FEATURES // 16 * 16, device="cuda")
    b = torch.rand(a.shape[1], recipe.hidden[0], device="cuda")
    a @ b
    return 100 * 2 * a.numel() * b.shape[1] / seconds(lambda: [a @ b for _ in range(100)])


def same(first: tuple[PriceNetwork, PriceNetwork], second: tuple[PriceNetwork, PriceNetwork]) -> bool:
    """Whether two pairs of networks have the same weights, to the last bit."""
    pairs = zip(first, second, strict=True)
    return all(torch.equal(a, b) for x, y in pairs for a, b in zip(x.parameters(), y.parameters(), strict=True))


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--rows", type=int, default=892_414)
    arguments = parser.parse_args()
    if not torch.cuda.is_available():
        sys.exit("this needs a GPU")
    recipe = replace(paper().pricing, epochs=(1, 1, 4, 2))
    matrix, y = drawn(arguments.rows)
    bare = patch.object(recorded_steps, "WARM_UP", 10**9)
    ways = {"ours": lambda: joint(matrix, y, recipe), "naive": lambda: naive(matrix, y, recipe)}
    recorded = joint(matrix, y[:COMPARED], recipe)
    with bare:
        equal = same(recorded, joint(matrix, y[:COMPARED], recipe))
    spent: dict[str, list[float]] = {}
    for _ in range(ROUNDS):
        for name, way in ways.items():
            spent.setdefault(name, []).append(seconds(way))
        with bare:
            spent.setdefault("unrecorded", []).append(seconds(ways["ours"]))
    samples, flop = sum(recipe.epochs) * arguments.rows, flop_per_sample(FEATURES, recipe.hidden)
    rates = {name: samples / float(np.median(times)) for name, times in spent.items()} | {
        "card": card_flops(recipe) / flop
    }
    tell(f"{torch.cuda.get_device_name()}: {arguments.rows:,} rows of {FEATURES:,} features")
    for name, rate in rates.items():
        tell(f"  {name:10} {rate:12,.0f} samples/s  {rate / rates['card']:.2f} of the card's products")
    minutes = PAPERS_EPOCHS * arguments.rows / rates["ours"] / 60
    tell(
        f"  the paper's {PAPERS_EPOCHS:,} epochs: {minutes:.0f} minutes; recorded and unrecorded weights equal: {equal}"
    )
    report(
        samples_per_s=rates,
        recorded_speedup=rates["ours"] / rates["unrecorded"],
        naive_speedup=rates["ours"] / rates["naive"],
        papers_epochs_min=minutes,
        equal=equal,
        peak_gib=torch.cuda.max_memory_allocated() / 2**30,
    )


if __name__ == "__main__":
    main()

"""How long and how fast price networks are trained: the paper's phases (section 3.4)."""

from vps_ml.recipes import PricingRecipe
from vps_ml.training_loop import Phase


def phases(recipe: PricingRecipe, rows: int, warm_up: bool) -> tuple[Phase, ...]:
    """The paper's four phases; without warm-up, stage 2 alone for as many epochs in all.

    If they would take more steps on this many rows than the recipe allows, all shrink by the same factor, to one
    epoch at least: the more rows, the less often each has to be seen.
    """
    share = 1.0
    if recipe.most_steps is not None:
        share = min(1.0, recipe.most_steps / (sum(recipe.epochs) * batches_per_epoch(rows, recipe.batch_size)))
    a, b, c, d = (max(1, round(share * epochs)) for epochs in recipe.epochs)
    fast, slow = recipe.learning_rates
    if warm_up:
        return Phase(a, fast, True), Phase(b, slow, True), Phase(c, fast, False), Phase(d, slow, False)
    return Phase(a + c, fast, False), Phase(b + d, slow, False)


def stage_one_twice(recipe: PricingRecipe, rows: int) -> tuple[Phase, ...]:
    """Stage 1's rates for twice its epochs: the schedule of a network that is trained alone."""
    return tuple(Phase(2 * p.epochs, p.learning_rate, True) for p in phases(recipe, rows, warm_up=True)[:2])


def batches_per_epoch(rows: int, batch_size: int) -> int:
    """As few batches as keep each at `batch_size` or below."""
    return max(1, -(-rows // batch_size))

import gc
import subprocess
import sys

import pytest

from vps_ml.imports import uncollected, without

TREES = """
import sys
import vps_ml.pricing.trees
assert "sklearn" not in sys.modules, "LightGBM took it"
import numpy, sklearn.svm
x = numpy.random.default_rng(0).normal(size=(60, 3))
vps_ml.pricing.trees.fit_booster((x, x[:, 0]), (x, x[:, 0]), vps_ml.pricing.trees.PRICE, 0, 1).predict(x)
"""


def test_boosted_trees_come_without_scikit_learn_which_can_be_imported_afterwards() -> None:
    ran = subprocess.run([sys.executable, "-c", TREES], capture_output=True, text=True)
    assert ran.returncode == 0, ran.stderr


def test_what_is_there_already_stays_and_what_is_hidden_is_not_there_meanwhile(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delitem(sys.modules, "colorsys", raising=False)
    with without("json"), without("colorsys"):
        import json

        with pytest.raises(ImportError):
            import colorsys
        assert json.loads("1") == 1
    import colorsys

    assert colorsys.rgb_to_hsv(0, 0, 0) == (0, 0, 0)
    with pytest.raises(ZeroDivisionError), without("cmath_that_is_not_there"):
        raise ZeroDivisionError
    assert "cmath_that_is_not_there" not in sys.modules


def test_what_is_made_meanwhile_is_not_looked_through_again_and_what_is_made_later_is() -> None:
    assert gc.isenabled()
    before = gc.get_freeze_count()
    with uncollected():
        assert not gc.isenabled()
        kept = [[number] for number in range(1000)]
    assert gc.isenabled()
    assert gc.get_freeze_count() >= before + len(kept)
    gc.disable()
    with pytest.raises(ZeroDivisionError), uncollected():
        raise ZeroDivisionError
    assert not gc.isenabled(), "as it was"
    gc.enable()

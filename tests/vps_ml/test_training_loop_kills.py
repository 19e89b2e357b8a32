"""Training in a process of its own that is really killed, and goes on in another."""

import subprocess
import sys
import time
from pathlib import Path

import pytest

TRAINING = """
import hashlib, sys
from dataclasses import replace
from pathlib import Path
import numpy as np
import torch
from vps_ml.checkpoints import Checkpoint
from vps_ml.features.matrix import FeatureMatrix
from vps_ml.pricing.learners import constraint_objective, train_jointly
from vps_ml.pricing.networks import Examples, PricingModel, model_state
from vps_ml.recipes import demo
from vps_ml.training_loop import Session

torch.set_num_threads(1)
Checkpoint.due = lambda self: True
recipe = replace(demo().pricing, hidden=(32, 16), epochs=(60, 30, 120, 60), patience=None)
rng = np.random.default_rng(0)
x = rng.normal(size=(2000, 20)).astype(np.float32)
prices = Examples.of(FeatureMatrix.of(x).rows(np.arange(len(x))), x[:, 0] + rng.normal(0, np.exp(x[:, 1])))
objective = constraint_objective("percentile", 0.5, recipe, 1.0)
session = Session(print, Path(sys.argv[1]))
regressor, gate = train_jointly(prices, prices, objective, recipe, True, 0, session)
state = model_state(PricingModel([regressor], gate, gate))
print("weights", hashlib.sha256(b"".join(state[name].tobytes() for name in sorted(state))).hexdigest())
"""


def trained(folder: Path) -> str:
    """Train to the end in a process; the line with the digest of the weights."""
    ran = subprocess.run([sys.executable, "-c", TRAINING, str(folder)], capture_output=True, text=True, timeout=300)
    assert ran.returncode == 0, ran.stderr
    return ran.stdout.strip().splitlines()[-1]


@pytest.mark.slow
def test_a_training_that_was_killed_again_and_again_ends_with_the_weights_of_an_unbroken_one(tmp_path: Path) -> None:
    unbroken = trained(tmp_path / "unbroken")
    folder = tmp_path / "broken"
    kept = []
    for pause_s in (0.3, 0.7, 1.1, 0.5):
        process = subprocess.Popen([sys.executable, "-c", TRAINING, str(folder)], stdout=subprocess.DEVNULL)
        before = (folder / "joint.pt").stat().st_mtime_ns if (folder / "joint.pt").exists() else 0
        while not (folder / "joint.pt").exists() or (folder / "joint.pt").stat().st_mtime_ns == before:
            assert process.poll() is None, "the training ended before it could be killed"
            time.sleep(0.02)
        time.sleep(pause_s)
        process.kill()
        assert process.wait() == -9, "the training ended before it could be killed"
        kept.append((folder / "joint.pt").stat().st_mtime_ns)
    assert len(set(kept)) == 4
    assert trained(folder) == unbroken

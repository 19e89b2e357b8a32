"""torchvision's ResNets come without torch's compiler, and leave it as it is for whoever wants it."""

import subprocess
import sys

WITHOUT = """
import sys
import torch
from vps_ml.backbones.networks import drawn, with_state
network = with_state("resnet10", drawn("resnet10").state_dict(), "a test")
network.fc = torch.nn.Identity()
assert network.eval()(torch.zeros(1, 3, 32, 32)).shape == (1, 512)
assert "torch._dynamo" not in sys.modules, "it takes a second"
from torch._dynamo.utils import is_compile_supported
assert is_compile_supported("cpu"), "the compiler itself, not what stood in for it"
"""


def test_networks_are_loaded_without_the_compiler_which_is_whole_afterwards() -> None:
    ran = subprocess.run([sys.executable, "-c", WITHOUT], capture_output=True, text=True)
    assert ran.returncode == 0, ran.stderr

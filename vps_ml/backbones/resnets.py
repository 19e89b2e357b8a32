"""torchvision's ResNets, without the compiler that torchvision 0.29 imports for an operator that nobody calls here.

`torchvision.ops.roi_align` takes one function of `torch._dynamo`, and nine hundred modules, over a second of CPU,
come along: a fifth of what `vps suggest` takes. With a stand-in for that function while torchvision is imported, region
pooling on deterministic CUDA is not compiled; nothing else differs, and the compiler itself can be imported afterwards.
"""

import sys
from collections.abc import Iterator
from contextlib import contextmanager
from types import ModuleType

COMPILER = ("torch._dynamo", "torch._dynamo.utils")


@contextmanager
def without_compiler() -> Iterator[None]:
    """Let imports find a compiler that supports no device, unless the real one has been imported.

    For a moment: no other thread may compile meanwhile.
    """
    if COMPILER[0] in sys.modules:
        yield
        return
    package, utils = (ModuleType(name) for name in COMPILER)
    package.__path__ = []
    utils.is_compile_supported = lambda device_type: False  # type: ignore[attr-defined]
    stand_ins = dict(zip(COMPILER, (package, utils), strict=True))
    sys.modules.update(stand_ins)
    try:
        yield
    finally:
        for name, stand_in in stand_ins.items():
            if sys.modules.get(name) is stand_in:
                del sys.modules[name]


with without_compiler():
    from torchvision.models import ResNet50_Weights, resnet50
    from torchvision.models.resnet import BasicBlock, Bottleneck, ResNet

__all__ = ["BasicBlock", "Bottleneck", "ResNet", "ResNet50_Weights", "resnet50"]

"""Networks here are tiny: one thread is faster than two that wait for each other, and never slower when others work."""

import torch

torch.set_num_threads(1)

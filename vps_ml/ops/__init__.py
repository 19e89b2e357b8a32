"""The Dagster ops that use an accelerator: tagged `vps/device: gpu`, in the pool `gpu`, torch inside the body."""

GPU_TAGS = {"vps/device": "gpu"}
GPU_POOL = "gpu"

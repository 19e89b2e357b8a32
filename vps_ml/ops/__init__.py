"""The Dagster ops that use an accelerator: tagged `vps/device: gpu`, in the pool `gpu`, torch inside the body."""

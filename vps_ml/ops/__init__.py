"""The Dagster ops that use an accelerator: tagged `vps/device: gpu`, in the pool `gpu`, torch inside the body."""

GPU_TAGS = {
    "vps/device": "gpu",
    # For who runs steps as pods: https://docs.dagster.io/deployment/oss/deployment-options/kubernetes/customizing-your-deployment
    "dagster-k8s/config": {"container_config": {"resources": {"limits": {"nvidia.com/gpu": "1"}}}},
}
GPU_POOL = "gpu"
PREDICTED_AT_ONCE = 20_000
"""Listings whose features and predictions are held at a time, however many are open."""

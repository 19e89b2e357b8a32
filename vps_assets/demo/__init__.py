"""The demo marketplace: made by us, deterministic by seed."""

"""The assets, one file a layer, in the order of the flow."""

"""The only readers of disk and environment: warehouse, landings, photos and artefacts, the recipe."""

"""What exists and when: the assets, their partitions, schemas, checks and resources. Loads without torch."""

"""What a row is: schemas, splits, partitions."""

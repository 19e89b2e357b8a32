"""What price models see: statistics, scaling, the matrix, the dataset."""

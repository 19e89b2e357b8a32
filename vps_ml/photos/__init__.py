"""A photo as file and as pixels."""

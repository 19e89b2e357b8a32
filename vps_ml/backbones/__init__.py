"""A network per task: networks, training, embedding, files."""

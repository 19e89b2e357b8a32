"""Files that come in: read, checked, landed, and what has landed."""

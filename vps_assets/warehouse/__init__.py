"""DuckDB: the working tables, their state, erasure, the analysts' copy."""

"""How prices are learnt from photos: no tables, no dates and, outside `ops`, no Dagster."""

"""How prices are learnt from photos: no tables, no dates and, outside `ops`, no Dagster."""

import os

# Threads that wait for each other sleep: by default they spin, and two runs on the same cores starve each other (two
# demos of 700 listings on two cores: over 300 s each, not 155; a single one takes 121 s, not 111). Read when
# OpenMP is loaded, so before torch, LightGBM and scikit-learn, which bring one each.
os.environ.setdefault("OMP_WAIT_POLICY", "passive")

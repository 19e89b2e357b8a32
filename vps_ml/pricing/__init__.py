"""What prices a listing: variants, networks, objectives, calibration, baselines, the predictor."""

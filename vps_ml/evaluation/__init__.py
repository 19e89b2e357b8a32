"""How good a model is: metrics, champion against challenger, drift."""

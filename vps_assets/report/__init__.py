"""The evaluation report: figures and page."""

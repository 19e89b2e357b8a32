"""Dagster at work: runs, the instance, sensors and their pure decisions, alerts, the terminal."""

"""Interval-based rotation between deploys."""

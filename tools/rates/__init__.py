"""Rates of the smoke preset, chosen by validation."""

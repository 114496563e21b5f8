"""Baselines of DTVG, one file per method; they use the interface :mod:`bench.method`."""

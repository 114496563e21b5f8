"""The methods DTVG is compared with, each in one file, written against :mod:`bench.method`."""

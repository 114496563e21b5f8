"""Writes the tables of a README in a results folder."""

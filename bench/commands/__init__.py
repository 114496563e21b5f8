"""The commands of ``bench``: parse, call, print. Heavy imports stay inside the commands."""

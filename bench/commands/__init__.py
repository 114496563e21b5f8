"""The commands of ``bench``, one module each: parse, call, print."""

"""Settings of the method, in a module of their own."""

from dataclasses import dataclass


@dataclass(frozen=True)
class OffsetSettings:
    learning_rate: float = 0.3

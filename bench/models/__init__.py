"""Frozen language models that soft prompts are tuned on."""

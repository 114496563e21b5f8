"""The frozen language models that prompts are tuned on."""

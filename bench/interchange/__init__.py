"""Prompts from and for other tools: reading what they wrote, writing what they read."""

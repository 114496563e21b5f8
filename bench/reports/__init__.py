"""Tables and figures of result records; nothing here runs a model."""

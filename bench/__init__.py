"""The benchmark harness for multi-task prompt tuning: everything that is not a method."""

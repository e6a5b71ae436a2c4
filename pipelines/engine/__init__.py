"""Runs the planned partitions of a stage once, in any kind of process, and records what was done."""

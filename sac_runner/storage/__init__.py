"""Run directories: the only writer of them. Imports no torch."""

"""The commands, a thin door each."""

"""Placeholder, replaced within the hour."""


def main() -> None:
    """Nothing yet."""

"""What ``scripts/benchmark`` times: each part in a file of its own."""

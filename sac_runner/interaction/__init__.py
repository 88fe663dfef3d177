"""The world, and what was seen of it: environments, collector, replay."""

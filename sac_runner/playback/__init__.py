"""The policies of stored runs: loaded, assessed, watched, recorded."""

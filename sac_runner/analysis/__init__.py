"""Reading run directories: curves and figures. Imports no torch."""

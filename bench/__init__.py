"""Measures controllers that follow configuration, side by side on a real control plane: `python -m bench`."""

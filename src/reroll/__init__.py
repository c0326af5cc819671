"""reroll: workloads follow their configuration."""

__version__ = "0.1.0"

"""What holds for every test of the project: it ends (tests/limits.py)."""

pytest_plugins = ["tests.limits"]

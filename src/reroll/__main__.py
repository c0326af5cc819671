"""`python -m reroll` is the same as `reroll`."""

from reroll.cli.main import run

if __name__ == "__main__":
    run()

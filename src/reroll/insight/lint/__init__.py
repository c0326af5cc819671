"""`reroll lint`: what is wrong with manifests, told before they are applied.

`world.py` first: what the rules look at. A rule family is a file in `rules/`; `run.py` puts them together, takes away
what comments ignore, and mends what can be mended. Nothing here asks a cluster but `lookup.py`.
"""

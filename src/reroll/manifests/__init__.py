"""Manifests as text: read, understood, and changed in few places. YAML in, YAML out, and no cluster needed."""

"""Speaks HTTP to an API server, and knows nothing of config reloads: where the server is and how to be
known to it (config, auth), requests with typed errors (client, errors), and local copies of what the server
holds (reflector)."""

"""Which pods run older configuration than the API server now holds? Told from times alone.

No controller has to run, nothing has to be annotated, and no content is read: of ConfigMaps and Secrets only the
metadata is asked for. `audit.py` reads the cluster, `times.py` tells when which key was last written, `judge.py`
compares that with when containers started, and `report.py` is the answer.
"""

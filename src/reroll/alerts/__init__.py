"""Tells people, outside of the cluster, what was done: chats, notification services, a webhook.

A notice (`notice.py`) is put in a queue and never waited for (`alerts.py`); several become one message
(`message.py`), which a target (`target.py`, `services.py`) makes into a request, and `delivery.py` sends.
"""

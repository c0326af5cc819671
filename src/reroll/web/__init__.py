"""What the controller shows over HTTP."""

"""Where log events go."""

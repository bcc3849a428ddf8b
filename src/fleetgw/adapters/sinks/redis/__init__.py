"""Redis: PUBLISH to the subscribers of each vehicle."""

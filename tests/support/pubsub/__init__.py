"""Pub/Sub for tests: the emulator, a stand-in with faults, a subscriber."""

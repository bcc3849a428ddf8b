"""Pub/Sub for tests: the emulator, a stand-in of our own, and what a subscriber gets."""

"""Files that the configuration names: bounded reading, and detection of their replacement."""

"""Files that the configuration names: reading them within bounds, and noticing their replacement."""

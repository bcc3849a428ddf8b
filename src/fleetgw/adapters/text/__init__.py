"""Text for JSON and for terminals."""

"""Where errors are reported, besides the log."""

"""Storage of traces: lines in segments, in memory or in a folder."""

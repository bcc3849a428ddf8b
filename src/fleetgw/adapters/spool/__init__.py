"""The durable queue on disk, and one in memory."""

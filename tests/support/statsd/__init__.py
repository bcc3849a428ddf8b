"""A StatsD server for tests, as a process."""

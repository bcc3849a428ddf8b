"""Signal counts on disk, so that they survive a restart."""

from fleetgw.adapters.signal_counts.daily_files import DailyFiles

__all__ = ["DailyFiles"]

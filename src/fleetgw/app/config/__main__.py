"""``python -m fleetgw.app.config FILE``: update the tables in a page of the documentation."""

import sys
from pathlib import Path

from fleetgw.app.config.schema import with_reference

page = Path(sys.argv[1])
page.write_text(with_reference(page.read_text("utf-8")), "utf-8")

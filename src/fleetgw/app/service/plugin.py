"""The plugin by which twistd finds the gateway. Imports little: every twistd loads it, also for other services."""

import sys

from twisted.application.service import ServiceMaker

from fleetgw.app.service import early_signals


class GatewayServiceMaker(ServiceMaker):
    """Handles signals before the gateway's modules are imported, when twistd is to run the gateway."""

    def __init__(self, tapname: str) -> None:
        """``tapname`` is the gateway's name on twistd's command line."""
        super().__init__("fleetgw", "fleetgw.app.service.service_maker", "Fleet telemetry gateway", tapname)
        if tapname in sys.argv[1:]:
            early_signals.listen()

"""The declaration of the sink ``mqtt``."""

from fleetgw.adapters.sinks.mqtt.checks import check_mqtt
from fleetgw.adapters.sinks.mqtt.settings import Mqtt
from fleetgw.adapters.sinks.sink_type import Confirmation, Confirms, ConfirmsHandOver, Exclusive, SinkType, imported


def _confirmation(mqtt: Mqtt) -> Confirmation:
    if mqtt.qos == 0:
        return ConfirmsHandOver("mqtt with qos 0 confirms no more than that the socket has taken a record")
    return Confirms()


MQTT = SinkType(
    name="mqtt",
    settings=Mqtt,
    make=imported("fleetgw.adapters.sinks.mqtt.sink:MqttSink", "mqtt"),
    needs_section=True,
    confirmation=_confirmation,
    holds=lambda mqtt: [Exclusive("client id", f"{mqtt.client_id} at {mqtt.broker}")] if mqtt.client_id else [],
    check=check_mqtt,
    certificate_keys=[("tls", "server_cert")],
    make_probe=imported("fleetgw.adapters.sinks.mqtt.probe:mqtt_probe", "mqtt"),
)

"""Checks the ``mqtt`` section."""

from fleetgw.adapters.settings.certificate_checks import check_client_tls
from fleetgw.adapters.settings.checking import SettingsCheck
from fleetgw.adapters.settings.spelling import quoted
from fleetgw.adapters.sinks.mqtt.broker_url import VALID_FORMS, UnusableBroker, read_broker
from fleetgw.adapters.sinks.mqtt.settings import Mqtt
from fleetgw.adapters.sinks.mqtt.topics import NOT_IN_TOPICS


def check_mqtt(mqtt: Mqtt, check: SettingsCheck) -> None:
    """Check the broker's address, alone and against the TLS section, the TLS files, and the first part of topics."""
    try:
        broker = read_broker(mqtt.broker)
    except UnusableBroker as error:
        what = f"is no address of a broker: {error}" if mqtt.broker else "is missing"
        check.refuse("broker", what, VALID_FORMS)
    else:
        if broker.scheme and not broker.is_tls and mqtt.tls is not None:
            secure = "wss" if broker.is_websocket else "mqtts"
            what = f'begins with "{broker.scheme}://", but there is {check.at("tls")}'
            check.refuse("broker", what, f'write "{secure}://", or remove {check.at("tls")}')
    check_client_tls(mqtt.tls, check.at("tls"), check.findings)
    if not mqtt.topic_base:
        check.warn("topic_base", "is empty: topics begin with /", 'name one, such as "telemetry"')
    elif NOT_IN_TOPICS.search(mqtt.topic_base):
        fix = "must not hold +, #, control characters or Unicode's non-characters: a broker ends the connection over them"
        check.refuse("topic_base", f"is {quoted([mqtt.topic_base])}", fix)

"""MQTT: one message per signal, confirmed when the broker has acknowledged all of a record's."""

"""The catalogue of metrics: names, kinds, labels. Names are those that dashboards of the Go server use."""

from enum import Enum

from attrs import frozen


class Kind(Enum):
    """The kind of a metric."""

    COUNTER = "counter"
    GAUGE = "gauge"
    HISTOGRAM = "histogram"


@frozen
class Metric:
    """One metric family.

    :ivar name: as exposed, without a further suffix.
    :ivar kind: counter, gauge or histogram.
    :ivar help: one sentence for the operator.
    :ivar labels: label names, in order.
    :ivar buckets: upper bounds of a histogram's buckets, ascending and finite; a last bucket above them has no bound.
    """

    name: str
    kind: Kind
    help: str
    labels: tuple[str, ...] = ()
    buckets: tuple[float, ...] = ()


def _counter(name: str, text: str, *labels: str) -> Metric:
    return Metric(name, Kind.COUNTER, text, labels)


def _gauge(name: str, text: str, *labels: str) -> Metric:
    return Metric(name, Kind.GAUGE, text, labels)


def _histogram(name: str, text: str, buckets: tuple[float, ...], *labels: str) -> Metric:
    return Metric(name, Kind.HISTOGRAM, text, labels, buckets)


_SECONDS = (0.001, 0.0025, 0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1, 2.5, 5, 10, 30, 60)

RECORD_TOTAL = _counter("record_total", "Records received.", "record_type")
RECORD_SIZE_BYTES_TOTAL = _counter("record_size_bytes_total", "Payload bytes received.", "record_type")
RECORD_TOO_BIG_TOTAL = _counter("record_too_big_total", "Messages over the size limit.")
RECORD_BEYOND_BOUND_TOTAL = _counter(
    "record_beyond_bound_total", "Messages refused because something in them exceeds its bound.", "bound"
)
RATE_LIMIT_EXCEEDED_TOTAL = _counter("rate_limit_exceeded_total", "Records over the rate limit.", "device_id", "txtype")
UNAUTHORIZED_SENDER_ID_TOTAL = _counter("unauthorized_sender_id_total", "Unrouted records of another sender.")
UNROUTED_RECORDS_TOTAL = _counter("unrouted_records_total", "Records of types without a route.", "record_type")
UNKNOWN_MESSAGE_TYPE_ERROR_TOTAL = _counter(
    "unknown_message_type_error_total", "Envelopes that are no stream message.", "msg_type"
)
UNKNOWN_SIGNAL_VALUE_TOTAL = _counter(
    "unknown_signal_value_total", "Records with a signal whose value is of a kind that this version does not know."
)
UNEXPECTED_RECORD_ERR_TOTAL = _counter("unexpected_record_err_total", "Messages that could not be read or decoded.")
SOCKET_ERR_TOTAL = _counter("socket_err_total", "Connections that ended with an error.")
TLS_HANDSHAKE_ERROR_TOTAL = _counter("tls_handshake_error_total", "TLS handshakes that failed.", "reason")
HANDSHAKE_SECONDS = _histogram(
    "tls_handshake_seconds", "Time from the acceptance of a vehicle's connection to the end of its TLS handshake.", _SECONDS
)
RESUMPTIONS_OFFERED_TOTAL = _counter(
    "tls_resumptions_offered_total", "Clients that offered to resume a TLS session; all get a full handshake."
)
CONNECTIONS_REFUSED_TOTAL = _counter(
    "connections_refused_total",
    "Connections refused: by listener (vehicles, status, metrics, profiler) and reason.",
    "listener",
    "reason",
)
REQUESTS_REFUSED_TOTAL = _counter(
    "requests_refused_total",
    "Requests of operators refused: foreign_host, cross_origin, no_token_set, no_token, wrong_token.",
    "listener",
    "reason",
)
STREAM_CHUNKS_DROPPED_TOTAL = _counter(
    "stream_chunks_dropped_total", "Parts of streams dropped, as their reader was too slow.", "listener"
)
ACCEPT_PAUSES_TOTAL = _counter(
    "accept_pauses_total",
    "Pauses of 50 ms in which new connections wait in the kernel: half_open or no_descriptors.",
    "listener",
    "reason",
)
ALLOW_LIST_VEHICLES = _gauge("allow_list_vehicles", "Vehicles on the allow list.")
ALLOW_LIST_AGE_SECONDS = _gauge(
    "allow_list_age_seconds", "Seconds since the source of the allow list was last reached; +Inf before the first time."
)
ALLOW_LIST_FAILURES_TOTAL = _counter("allow_list_failures_total", "Readings of the allow list that failed.")
DISPATCH_TOTAL = _counter("dispatch_total", "Records handed to their sinks.", "record_type")
SIGNAL_COUNT = _gauge("signal_count", "Signals received.", "record_type")
VIN_SIGNAL_COUNT = _gauge("vin_signal_count", "Signals received of a tracked vehicle.", "record_type", "vin")
RELIABLE_ACK = _counter("reliable_ack", "Acknowledgements sent after a sink confirmed.", "record_type", "dispatcher")
RELIABLE_ACK_MISS = _counter("reliable_ack_miss", "Confirmed records of disconnected vehicles.", "record_type", "dispatcher")
BUILD_INFO = _gauge(
    "fleetgw_build_info",
    "Always 1; the labels are the versions of fleetgw and Python, and the language of the hot path.",
    "version",
    "python",
    "hot_path",
)
GATEWAY_READY = _gauge("gateway_ready", "Whether vehicles should be sent to the gateway, as /ready says: 1 or 0.")
CERTIFICATE_EXPIRY = _gauge(
    "certificate_expiry_timestamp_seconds",
    "End of a certificate's validity in epoch seconds, by the key that names its file; of tls.ca_file the earliest.",
    "certificate",
)
UPTIME_SEC = _gauge("uptime_sec", "Seconds since the gateway started.")
NUM_CONNECTIONS = _gauge("num_connections", "Connected vehicles.")
VEHICLES_PAUSED = _gauge(
    "vehicles_paused", "Connected vehicles that are not read from, because a queue that their records need is full."
)
REACTOR_LAG_SECONDS = _histogram(
    "reactor_lag_seconds", "Lateness of a timer that is due four times a second: every vehicle waits as long.", _SECONDS
)
NUM_GOROUTINE = _gauge("num_goroutine", "Threads of the process: Go's name for its nearest counterpart.")
MEMORY_ALLOCATED_BYTES = _gauge("memory_allocated_bytes", "Resident memory of the process.")
MEMORY_HEAP = _gauge("memory_heap", "Resident memory that is no mapped file, in bytes.")
MEMORY_STACK = _gauge("memory_stack", "Stack of the main thread, in bytes.")
GC_TOTAL_PAUSE = _gauge("gc_total_pause", "Milliseconds that the garbage collector has run.")
GC_PAUSE_PER_SECOND = _gauge("gc_pause_per_second", "Milliseconds a second that the garbage collector runs.")
GC_PER_SECOND = _gauge("gc_per_second", "Runs of the garbage collector a second.")
ACK_LATENCY_SECONDS = _histogram(
    "ack_latency_seconds",
    "Time from a record's receipt to its acknowledgement, without duplicates; 0 when both happen in one read.",
    (0, *_SECONDS),
    "record_type",
)
SINK_LATENCY_SECONDS = _histogram(
    "sink_latency_seconds", "Time from the dispatch of a batch to its outcomes.", _SECONDS, "dispatcher"
)
SINK_BATCH_RECORDS = _histogram(
    "sink_batch_records", "Records of a batch.", (1, 2, 4, 8, 16, 32, 64, 128, 256, 512, 1024, 4096), "dispatcher"
)
LANE_REFUSED_TOTAL = _counter(
    "lane_refused_total", "Records that a full queue did not take; they were not acknowledged.", "dispatcher"
)
LANE_REFUSED_FOR_MEMORY_TOTAL = _counter(
    "lane_refused_for_memory_total",
    "Records of lane_refused_total that the queue had room for, but not delivery.memory_mib.",
    "dispatcher",
)
LANE_RETRIED_TOTAL = _counter("lane_retried_total", "Batches with records to retry.", "dispatcher")
LANE_HELD_RECORDS = _gauge("lane_held_records", "Records waiting, in flight and in the retry queue.", "dispatcher")
LANE_CAPACITY_RECORDS = _gauge(
    "lane_capacity_records",
    "The most records that wait or are in flight; 0 once nothing is routed to the sink.",
    "dispatcher",
)
SINK_READY = _gauge("sink_ready", "Whether the sink could reach its destination when it last tried: 1 or 0.", "dispatcher")
LANE_MEMORY_BYTES = _gauge(
    "lane_memory_bytes", "Memory that a sink's records take, with the copies that its client makes.", "dispatcher"
)
MEMORY_CEILING_BYTES = _gauge("memory_ceiling_bytes", "The most that lane_memory_bytes may be for all sinks together.")
DEAD_LETTER_TOTAL = _counter("dead_letter_total", "Records that a sink refused for good.", "dispatcher")
DEAD_LETTER_STORED_TOTAL = _counter(
    "dead_letter_stored_total", "Records of dead_letter_total that the dead-letter store has synced to disk.", "dispatcher"
)
DEAD_LETTERS_SIZE_BYTES = _gauge("dead_letters_size_bytes", "Size of the dead letters' files.")

LEDGER_ACKED_TOTAL = _counter("ledger_acked_total", "Records acknowledged, without duplicates.", "record_type")
LEDGER_DUPLICATES_TOTAL = _counter(
    "ledger_duplicates_total", "Records acknowledged once more, as they were taken before.", "record_type"
)
LEDGER_UNACKED_TOTAL = _counter(
    "ledger_unacked_total",
    "Records that are never acknowledged: full, not_stored, unconfirmed, disconnected.",
    "record_type",
    "reason",
)
LEDGER_AWAITING_RECORDS = _gauge(
    "ledger_awaiting_records", "Records that wait to be acknowledged: for room, a sync, confirmations.", "record_type"
)
LEDGER_TAKEN_TOTAL = _counter(
    "ledger_taken_total", "Records that the queue took, from vehicles and from the spool.", "record_type", "dispatcher"
)
LEDGER_REFUSED_TOTAL = _counter("ledger_refused_total", "Records a full queue did not take.", "record_type", "dispatcher")
LEDGER_RETRIED_TOTAL = _counter(
    "ledger_retried_total", "Outcomes after which a record is retried; a record may have many.", "record_type", "dispatcher"
)
LEDGER_DELIVERED_TOTAL = _counter("ledger_delivered_total", "Records that the sink delivered.", "record_type", "dispatcher")
LEDGER_DEAD_LETTERS_TOTAL = _counter(
    "ledger_dead_letters_total",
    "Records that the sink refused for good, by the place of the last copy: store, log, vehicle.",
    "record_type",
    "dispatcher",
    "kept",
)
LEDGER_UNHEARD_TOTAL = _counter("ledger_unheard_total", "Records without a subscriber.", "record_type", "dispatcher")
LEDGER_GIVEN_UP_TOTAL = _counter(
    "ledger_given_up_total", "Records still held as the gateway stopped.", "record_type", "dispatcher"
)
LEDGER_HELD_RECORDS = _gauge("ledger_held_records", "Records that the queue holds.", "record_type", "dispatcher")
LEDGER_REPLAYED_TOTAL = _counter(
    "ledger_replayed_total", "Records taken from the spool, stored before this start.", "record_type", "dispatcher"
)
LEDGER_LEFT_TOTAL = _counter(
    "ledger_left_total", "Records left in the spool for later, since this start.", "record_type", "dispatcher"
)
LEDGER_READ_TOTAL = _counter(
    "ledger_read_total", "Records of ledger_left_total taken from the spool.", "record_type", "dispatcher"
)
LEDGER_SKIPPED_TOTAL = _counter(
    "ledger_skipped_total",
    "Records of ledger_left_total that the spool no longer has: not stored, dropped, damaged.",
    "record_type",
    "dispatcher",
)
LEDGER_SPOOLED_RECORDS = _gauge(
    "ledger_spooled_records", "Records of ledger_left_total that wait in the spool.", "record_type", "dispatcher"
)
LANE_UNREAD_POSITIONS = _gauge(
    "lane_unread_positions",
    "Positions of the spool that the queue has yet to read: at least as many as records wait there, of any age.",
    "dispatcher",
)
LOST_RECORDS_TOTAL = _counter(
    "lost_records_total",
    "Acknowledged records that were neither delivered nor kept: stopped, spool_limit, damaged. Must stay 0.",
    "record_type",
    "dispatcher",
    "reason",
)

SPOOL_APPENDED_TOTAL = _counter("spool_appended_total", "Records that the spool has synced to disk.")
SPOOL_FAILED_TOTAL = _counter("spool_failed_total", "Records that the spool took and could not store.")
SPOOL_REFUSED_TOTAL = _counter("spool_refused_total", "Records that the spool did not take: full, or its disk fails.")
SPOOL_DAMAGED_FILES_TOTAL = _counter("spool_damaged_files_total", "Damaged files of the spool that were kept aside.")
SPOOL_DAMAGED_BYTES = _gauge("spool_damaged_bytes", "Size of the damaged files of the spool.")
SPOOL_SIZE_BYTES = _gauge("spool_size_bytes", "Size of the spool's files.")
SPOOL_MAX_BYTES = _gauge("spool_max_bytes", "The most that spool_size_bytes may be.")
SPOOL_SECONDS_UNTIL_FULL = _gauge(
    "spool_seconds_until_full",
    "Seconds until the spool is full if it grows as in the last five minutes; +Inf if it does not.",
)


def reliable_ack_total(sink: str) -> Metric:
    """``<sink>_reliable_ack_total``: records acknowledged because this sink confirmed them."""
    return _counter(f"{sink}_reliable_ack_total", f"Records acknowledged after {sink} confirmed them.", "record_type")

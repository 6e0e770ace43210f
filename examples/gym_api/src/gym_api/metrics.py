"""The six metrics of the platform, and the few that explain them."""

from prometheus_client import Counter, Gauge, Histogram, disable_created_metrics

# When a series began is of no use to anybody here, and would double their number.
disable_created_metrics()  # type: ignore[no-untyped-call]

_BUCKETS = (0.002, 0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1.0, 2.5, 5.0, 10.0, 25.0)

# 1. Latency, by route and status. The route is the template, never the path: ids would be a series each.
REQUEST_SECONDS = Histogram(
    "gym_http_request_duration_seconds",
    "Time from a request's first byte to its answer's last.",
    ("route", "method", "status"),
    buckets=_BUCKETS,
)
# 2. Answers by class, 4xx and 5xx among them.
RESPONSES = Counter("gym_http_responses", "Answers by the class of their status.", ("code_class",))
# 3. Latency of the database, as the service sees it: pool, network, query and commit.
DATABASE_SECONDS = Histogram(
    "gym_database_query_duration_seconds",
    "Duration of one database transaction.",
    ("operation", "endpoint"),
    buckets=_BUCKETS,
)
DATABASE_RETRIES = Counter("gym_database_retries", "Transactions that were tried again after a lost connection.")
# 4. Cache hits and misses; `error` when Redis did not answer and the database was asked instead.
CACHE_REQUESTS = Counter("gym_cache_requests", "Look-ups in the attendance cache.", ("result",))
# 5. Depth of the queues, the dead-letter queue among them.
QUEUE_MESSAGES = Gauge("gym_queue_messages", "Messages in a queue, waiting or being worked on.", ("queue",))
OUTBOX_PENDING = Gauge("gym_outbox_pending", "Notifications that are not delivered and not given up.")
NOTIFICATIONS = Counter("gym_notifications", "Notifications by what became of a message.", ("outcome",))
# 6. Kiosk heartbeats. One series a gym, not a kiosk: the oldest heartbeat is what an alert needs.
KIOSK_HEARTBEAT = Gauge(
    "gym_kiosk_heartbeat_timestamp_seconds", "When the kiosk that is silent for longest last spoke.", ("tenant",)
)
KIOSKS_SILENT = Gauge("gym_kiosks_silent", "Kiosks without a heartbeat for five minutes.", ("tenant",))

BUILD = Gauge("gym_build_info", "The release that runs, as labels.", ("version", "colour"))

for _code_class in ("2xx", "3xx", "4xx", "5xx"):
    RESPONSES.labels(_code_class)
for _result in ("hit", "miss", "error"):
    CACHE_REQUESTS.labels(_result)

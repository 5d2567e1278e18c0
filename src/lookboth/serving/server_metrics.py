"""The server's metrics, in the format of Prometheus."""

from prometheus_client import CollectorRegistry, Counter, Gauge, Histogram, generate_latest

_SECONDS = (0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1, 2.5, 5, 10, 30, 60)


class Metrics:
    """Metrics of one server, in their own registry."""

    def __init__(self) -> None:
        # The global registry would refuse a second server in the same process.
        self.registry = CollectorRegistry()
        self.requests = Counter(
            "lookboth_requests", "Answered requests.", ["path", "status"], registry=self.registry
        )
        self.seconds = Histogram(
            "lookboth_request_seconds",
            "Seconds from the first byte of a request to the last byte of its answer.",
            ["path"],
            buckets=_SECONDS,
            registry=self.registry,
        )
        self.refused = Counter(
            "lookboth_refused_requests", "Requests refused, by reason.", ["reason"], registry=self.registry
        )
        self.hangups = Counter(
            "lookboth_hangups", "Clients that left before their answer.", registry=self.registry
        )
        self.texts = Counter("lookboth_texts", "Texts labeled, by model.", ["model"], registry=self.registry)
        self.queue_tokens = Gauge(
            "lookboth_queue_tokens", "Tokens accepted and not yet answered.", registry=self.registry
        )
        self.batch_texts = Histogram(
            "lookboth_batch_texts",
            "Texts and windows of long texts per batch.",
            buckets=(1, 2, 4, 8, 16, 32, 64, 128, 256),
            registry=self.registry,
        )
        self.batch_seconds = Histogram(
            "lookboth_batch_seconds", "Seconds per batch.", buckets=_SECONDS, registry=self.registry
        )

    def count_batch(self, num_texts: int, seconds: float) -> None:
        """Record the number of texts and windows of a batch, and its seconds."""
        self.batch_texts.observe(num_texts)
        self.batch_seconds.observe(seconds)

    def render(self) -> bytes:
        """Return the metrics in the text format of Prometheus."""
        return generate_latest(self.registry)

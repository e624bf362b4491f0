"""Prometheus metrics. Labels are paths, status codes and task names, never content of requests."""

from prometheus_client import CollectorRegistry, Counter, Gauge, Histogram, generate_latest

from clinadapt.deployment.server.schemas import Task

SECONDS = (0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1, 2.5, 5, 10, 30)
NO_ANSWER = "none"  # the client disconnected
NOTES = (1, 2, 4, 8, 16, 32, 64, 128, 256)


class Metrics:
    """Metrics of a server.

    Parameters
    ----------
    tasks : list of Task
    """

    def __init__(self, tasks: list[Task]) -> None:
        self.registry = CollectorRegistry()
        self.requests = Counter(
            "clinadapt_requests", "Requests.", ["path", "status"], registry=self.registry
        )
        self.seconds = Histogram(
            "clinadapt_request_seconds",
            "Seconds from the headers of a request to its response.",
            ["path"],
            buckets=SECONDS,
            registry=self.registry,
        )
        self.notes = Counter(
            "clinadapt_notes", "Notes classified.", ["task"], registry=self.registry
        )
        self.batches = Histogram(
            "clinadapt_batch_notes",
            "Notes per batch.",
            buckets=NOTES,
            registry=self.registry,
        )
        self.queue = Gauge("clinadapt_queue_notes", "Notes in the queue.", registry=self.registry)
        versions = Gauge(
            "clinadapt_task", "Tasks served.", ["task", "version"], registry=self.registry
        )
        for task in tasks:
            versions.labels(task.name, task.version).set(1)
            self.notes.labels(task.name)

    @property
    def answered(self) -> int:
        """Number of requests that got a response of any kind."""
        samples = next(iter(self.requests.collect())).samples
        return int(
            sum(
                sample.value
                for sample in samples
                if sample.name.endswith("_total") and sample.labels["status"] != NO_ANSWER
            )
        )

    def text(self) -> bytes:
        """Return all metrics in the Prometheus text format."""
        return generate_latest(self.registry)

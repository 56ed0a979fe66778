"""The metrics that every service shares; a service adds its own beside its code.

All carry the prefix `retrace_`; times are in seconds, sizes in bytes.
"""

from prometheus_client import Counter, Gauge, Histogram

HTTP_SECONDS = Histogram(
    "retrace_http_request_seconds",
    "Time from request to answer.",
    ["method", "route", "status"],
    buckets=(0.001, 0.0025, 0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1, 2.5, 10),
)
PROBLEMS = Counter("retrace_problems_total", "Problem documents answered.", ["code"])
DEAD_LETTERS = Counter("retrace_dead_letters_total", "Records given up on.", ["consumer", "code"])
LAG = Gauge("retrace_lag_events", "Records not read yet.", ["consumer", "topic", "partition"])
READY = Gauge("retrace_ready", "1 when the service is ready.", ["service"])
COMPONENT = Gauge(
    "retrace_component_ok", "1 when a component works; /health/ready says why not.", ["service", "component"]
)

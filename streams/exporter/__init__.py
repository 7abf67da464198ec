"""From figures to Prometheus: collector, text renderer and HTTP server; knows engines, nothing of Kafka.

The runtime fills a `MonitorState` and starts a `MetricsServer` on it:

    state = MonitorState(clock="wall", build=Build(version="1.0.0"))
    server = MetricsServer(state, agent_names("pseudonym", data_dir), host="127.0.0.1", port=9464)
    server.start()      # ServerError or PseudonymKeyError: a sentence for the user, exit code 1
    server.stop()

`port=0` picks a free one; `server.port` and `server.url` say which.
"""

from streams.exporter.pseudonyms import AgentLabels, AgentNames, PseudonymKeyError, agent_names, fingerprint
from streams.exporter.server import MetricsServer, ServerError
from streams.exporter.state import Build, FigureClock, MonitorState

__all__ = [
    "AgentLabels",
    "AgentNames",
    "Build",
    "FigureClock",
    "MetricsServer",
    "MonitorState",
    "PseudonymKeyError",
    "ServerError",
    "agent_names",
    "fingerprint",
]

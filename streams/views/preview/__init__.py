"""Boards drawn from a Prometheus without a Grafana: board JSON in, one static HTML page out."""

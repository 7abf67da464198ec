"""Grafana boards, written in Python and generated as JSON."""

"""Figures as Prometheus text over HTTP: what the runtime fills in, and a scraper reads."""

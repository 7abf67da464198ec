"""Boards drawn from a Prometheus without a Grafana: board JSON in, one static HTML page out.

An approximation of what Grafana draws: the same figures, words, colours and places, by the kinds of panels and
transformations that our boards use and no others. An extra (`labelwatch[boards]`): nothing but the command imports it.
"""

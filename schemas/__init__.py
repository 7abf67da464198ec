"""The words of labelwatch: events, topics, metrics and policy. The first layer; imports nothing of ours."""

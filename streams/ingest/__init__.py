"""The HTTP receiver of labeling tools' webhooks: body, facts, ledger, durable spool, Kafka."""

"""What tests share: brokers on free ports, and small helpers."""

"""What a person runs beside the worker: demo, topics, doctor, policy, explain, compute."""

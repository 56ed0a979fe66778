"""`retrace faults`: the write side on a real Kafka while everything around it fails, and a check of every answer."""

"""Which partition a key goes to: Kafka's own rule, the same in every client that we use."""

from aiokafka.partitioner import murmur2


def partition_of(key: str, partitions: int) -> int:
    """Partition of `key` in a topic with this many partitions.

    Source: Kafka's default partitioner (murmur2 of the key bytes, sign bit cleared, modulo the partitions). librdkafka
    needs `partitioner=murmur2_random` to do the same.
    """
    partition: int = (murmur2(key.encode()) & 0x7FFFFFFF) % partitions
    return partition

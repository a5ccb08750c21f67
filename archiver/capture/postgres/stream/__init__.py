"""The replication stream: received, packed into runs, acknowledged."""

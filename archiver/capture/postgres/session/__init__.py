"""Connections, replication slots, snapshots and client programs."""

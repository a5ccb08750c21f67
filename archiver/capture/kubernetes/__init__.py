"""Kubernetes resources: list, watch, relist and difference; objects and watch lines as they come."""

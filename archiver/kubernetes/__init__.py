"""What capture and restore share of Kubernetes: the API server over HTTP, and which cluster it is."""

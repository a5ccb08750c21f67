"""Watch lines -> objects -> an API server or YAML files."""

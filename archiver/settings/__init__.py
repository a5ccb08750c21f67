"""Settings: the model (one YAML file), how it is loaded (file, then environment), and its JSON schema."""

from archiver.settings.load import load, overlay, parse
from archiver.settings.model import S3, Archive, Drills, Kubernetes, Log, Maintenance, Postgres, Retention, Settings, Source, Web
from archiver.settings.schema import json_schema

__all__ = [
    "S3",
    "Archive",
    "Drills",
    "Kubernetes",
    "Log",
    "Maintenance",
    "Postgres",
    "Retention",
    "Settings",
    "Source",
    "Web",
    "json_schema",
    "load",
    "overlay",
    "parse",
]

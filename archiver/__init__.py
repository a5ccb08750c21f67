"""Event-driven change-capture archiver: capture -> journal -> replay."""

__version__ = "0.1.0"

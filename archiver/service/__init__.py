"""What runs capture, and how it says how it is."""

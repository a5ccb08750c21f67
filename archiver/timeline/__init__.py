"""The timeline page: an archive's changes over time in a browser, read only, for whoever has its address."""

"""What is looked at before capture begins, and the findings that it prints."""

"""What the catalog of a database says, and what is put into it."""

"""store: the five verbs of object storage, on S3, in a directory, in memory."""

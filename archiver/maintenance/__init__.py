"""What keeps an archive quick as it grows. It reads the journal and adds to the archive; it never writes to the journal."""

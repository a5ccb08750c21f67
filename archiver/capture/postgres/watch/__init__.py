"""What is noticed while the stream runs: changed schemas, tables whose rows must be copied again."""

"""What an archive may forget, and forgetting it: the only room that deletes what nothing else has."""

"""What an agent may do besides thinking."""

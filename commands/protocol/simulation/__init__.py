"""The offset-checked append under every mishap that a seed can think of."""

"""What is measured, one section per file."""

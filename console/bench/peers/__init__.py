"""What a Python team would use instead, written as a competent team would write it. Each module does the same work."""

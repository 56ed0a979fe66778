"""`retrace bench`: what this system reaches, beside what a Python team would use instead, in the same run."""

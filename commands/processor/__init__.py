"""The role `processor`: owns partitions and answers their commands."""

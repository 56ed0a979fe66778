"""The offset-checked append: one partition, its log, its writer."""

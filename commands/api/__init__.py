"""The role `commands`: commands and facts over HTTP."""

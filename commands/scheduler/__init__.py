"""The role `scheduler`: sends the commands whose time has come."""

"""One suggestion at a time or many at once, for people who wait for it: the command line and the HTTP service."""

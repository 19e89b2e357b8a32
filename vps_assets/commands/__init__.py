"""What stands behind one word of the command line."""

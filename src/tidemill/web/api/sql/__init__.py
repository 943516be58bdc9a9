"""One statement a file."""

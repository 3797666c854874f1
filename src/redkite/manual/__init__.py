"""What the commands and the settings are, in words: one source for help texts, the man page and the documentation."""

"""A Model Context Protocol server: language models look things up in a database, and write to it where they may."""

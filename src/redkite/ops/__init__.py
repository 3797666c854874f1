"""What does an operator do with a database? Each module is one command of the shell and one function of the SDK."""

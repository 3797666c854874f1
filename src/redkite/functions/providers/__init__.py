"""How each provider of models wants to be asked. No I/O here: requests are made and replies are read."""

"""What are the words of a text? Tokenizers, filters and the analyzers made of them."""

"""What committees see and sign: the model card and its charts."""

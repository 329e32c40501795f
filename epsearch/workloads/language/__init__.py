"""Language modelling: texts, and networks that predict the next token."""

"""Commands of the command line, one function each; heavy imports are local to them."""

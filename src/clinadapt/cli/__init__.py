"""The commands, one function each; heavy imports stand inside them."""

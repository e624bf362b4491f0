"""Which words moved a decision, and which errors a study makes."""

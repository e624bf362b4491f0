"""Read notes from tables, check and label them, and split them by patient."""

"""A study: its design, runs, leaderboard and folder."""

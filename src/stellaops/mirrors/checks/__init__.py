"""What a mirror owes to those who pull from it, judged from outside: by requests alone, requirement by requirement."""

"""Speed, measured so that anyone can repeat it: ``make bench NAME=stored_epoch``."""

"""Reading and writing a teacher's answers, beside every other common way to keep small records."""

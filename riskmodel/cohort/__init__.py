"""Who is at risk on a day, what was known, what happened next."""

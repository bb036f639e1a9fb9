"""Why a household is on the list: drivers, causes, words."""

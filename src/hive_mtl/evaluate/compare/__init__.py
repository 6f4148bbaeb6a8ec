"""Does one unified embedding beat the specialised ones? A comparison, planned before it is run."""

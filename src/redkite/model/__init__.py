"""What is data? Types, limits, schemas, timestamps, and the waist: requests and results."""

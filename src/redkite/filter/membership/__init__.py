"""Which values belong to a set that comes as bytes: `membership_match(field, {bytes})`."""

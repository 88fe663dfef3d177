"""What a user may choose: schema, composition, checks."""

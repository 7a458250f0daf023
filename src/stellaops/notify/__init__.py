"""Who is told of what: events, rules, channels, deliveries."""

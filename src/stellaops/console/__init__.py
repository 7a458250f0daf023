"""The web console: pages for people, made of what the API answers to the one who looks."""

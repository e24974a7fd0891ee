"""`gateway doctor`: what this host is and allows, and what a configuration needs of it."""

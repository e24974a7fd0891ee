"""How large the first congestion window of connections to peers is, and the routes that make it so."""

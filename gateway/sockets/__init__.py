"""The sockets that outlive every child: which there are, which serve whom, and how that changes."""

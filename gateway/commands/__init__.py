"""What each command does. `gateway.cli` reads the command line and loads these when they are needed."""

"""What the operator touches: commands, configuration, the supervisor, health, metrics. Never imports gevent."""

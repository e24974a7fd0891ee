"""The live view of a running gateway: samples, what they say together, and how that is drawn."""

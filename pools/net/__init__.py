"""The ground floor: the only package that talks to the kernel."""

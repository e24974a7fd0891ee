"""The page of the admin listener: what it shows, remembers and is made of. Serving it is gateway.admin's.

Nothing here loads gevent, and nothing here knows HTTP but for the names of files and headers in `assets`.
"""

"""The HTTP server: several labelers behind one queue, limits that answer, and a web page."""

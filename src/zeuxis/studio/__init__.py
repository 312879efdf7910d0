"""The service: jobs over HTTP, in the house's own way and as two well-known clients ask."""

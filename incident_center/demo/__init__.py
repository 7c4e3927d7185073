"""The demo: the whole product in one process, with sample components, staff and subscribers."""

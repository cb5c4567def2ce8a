"""The explorer: an application in the browser, served to this machine alone. Panel is imported in its modules only."""

"""Contract suites and loopback pairs for whoever writes a driver; never imported at run time."""

"""`python -m incident_center` is the command line."""

from incident_center.cli import main

main()

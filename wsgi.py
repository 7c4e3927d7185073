"""For any WSGI server: `gunicorn wsgi:app`, `granian --interface wsgi wsgi:app`, …; settings from the environment."""

from incident_center import create_app

app = create_app()

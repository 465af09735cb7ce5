"""Build the image and start every service of docker-compose.yml without Docker."""

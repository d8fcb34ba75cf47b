"""The web app and its API: answers from memory, new users in one request, pages for people. Needs no Dagster."""

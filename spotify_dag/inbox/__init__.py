"""What has been handed in: registered sources, and users one by one. No Dagster."""

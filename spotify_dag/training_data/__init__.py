"""What a tower is trained on: listening, policy, settings. No Dagster."""

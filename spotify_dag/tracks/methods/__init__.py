"""The methods of the first stage, one per file. Each scores tracks for a request; larger is better, 0 says nothing."""

"""Every method under one protocol, with its controls; resumable in short shards."""

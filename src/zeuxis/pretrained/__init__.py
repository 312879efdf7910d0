"""Public checkpoints in and out: key maps, and nothing that opens a file."""

"""The gate: is the head slower, less accurate or otherwise changed against its base, and can this machine tell?

`decide` judges and is pure; `side` (a child process) prepares one side; `duet` measures both; `run` puts it together.
"""

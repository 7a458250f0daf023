"""Workers: they take runs from the queue and execute them, with the building in child processes.

`process.run_worker` and `process.serve` are the way in. Nothing is imported here: child processes start quickly.
"""

"""Background work: the Celery application, its tasks, and the jobs that they work on."""

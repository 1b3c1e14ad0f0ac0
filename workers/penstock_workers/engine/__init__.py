"""The Celery engine: runs are driven in short steps by any of many workers."""

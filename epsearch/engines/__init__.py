"""What schedules the trials. Every engine asks and tells the same study (`study.py`)."""

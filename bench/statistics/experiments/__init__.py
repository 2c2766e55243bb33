"""What experiments say: trainings over seeds, and what they support."""

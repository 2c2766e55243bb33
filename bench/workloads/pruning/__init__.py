"""Which weights a network keeps, and how it comes to keep them."""

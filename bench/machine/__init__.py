"""The machine: what it is, what is free, what it was measured to do at best, what to mend."""

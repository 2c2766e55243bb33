"""A whole network from inputs to outputs: by its plan, and all dense by each library."""

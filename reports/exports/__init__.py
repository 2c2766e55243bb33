"""What a run or a comparison holds, in the formats of others: one module or folder per format."""

"""What the gate asks next: looks at both versions, each a study with fresh processes."""

"""What breaks and mends the parts of a bed: one module for each thing that can be broken."""

"""What the scripts of this folder share: the fathom binary, ranks, variables, checkpoints, tables. Standard library only."""

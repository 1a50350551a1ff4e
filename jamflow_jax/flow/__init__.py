"""Flow matching: the path, what is hidden and dropped, the objective, the solver, guidance, and generation."""

"""Learning when a large engine pays: rows of counterfactual steps, what is fitted on them, and how good it is."""

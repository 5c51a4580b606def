"""Everything that trains: experiments, losses, data sets, models, the training engine and the stack."""

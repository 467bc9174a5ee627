"""Side-by-side measurements: each figure of the hub beside a floor that is measured in the same run."""

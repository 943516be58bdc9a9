"""Speed, reported as ratios against a peer or a bare limit measured in the same run."""

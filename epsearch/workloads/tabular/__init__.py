"""Tables: scikit-learn's datasets and small networks."""

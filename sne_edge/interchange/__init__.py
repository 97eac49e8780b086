"""What others have: networks of one's own, read and held against their own framework."""

"""What lies in a Bento and why, and which packages it pins. Knows nothing of images or clusters."""

"""What looks at the world, for criteria's probes and labs alike: one noun a module. The engine imports none of it."""
